"""Stretch and skew of the specimen from a bundle adjustment, as displacements in addition to rigid poses.

A specimen ``D r`` projects to the rigid pose's projection of r, displaced linearly over the image: exactly on
the plane z = 0, and for skew without x-tilt at any height; a stretch s is off for points at height z by
``s z sin(tilt)``. A stretch or skew common to all views is indistinguishable from another specimen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.model.image_warp import ImageWarp

__all__ = ["with_distortions"]

Array = NDArray[np.float64]

_SAMPLES = 7
"""Chosen, along each side: stretch and skew are linear, so few places define them."""


def with_distortions(
    geometry: SeriesGeometry,
    extent_xy_angstrom: tuple[float, float],
    warps: Sequence[ImageWarp | None],
) -> list[ImageWarp | None]:
    """Displacements of all views: stretch and skew, then the given ones, over images of this extent."""
    rigid = replace(geometry, stretch=0 * geometry.stretch, skew=0 * geometry.skew)
    distorted = (geometry.stretch != 0) | (geometry.skew != 0)
    along = [np.linspace(-0.5, 0.5, _SAMPLES) * size for size in extent_xy_angstrom]
    places: Array = np.stack(np.meshgrid(*along), axis=-1).reshape(-1, 2)
    combined: list[ImageWarp | None] = []
    for view, warp in enumerate(warps):
        if not distorted[view]:
            combined.append(warp)
            continue
        shift = geometry.shift_xy_angstrom[view]
        in_plane = (geometry.matrices[view, :2, :2], rigid.matrices[view, :2, :2])
        seen = (places - shift) @ (in_plane[0] @ np.linalg.inv(in_plane[1])).T + shift
        n_controls = 2
        if warp is not None:
            seen = seen + warp.displacement(seen)
            n_controls = max(3, *warp.n_controls_xy)
        combined.append(ImageWarp.fitted(places, seen - places, extent_xy_angstrom, n_controls))
    return combined
