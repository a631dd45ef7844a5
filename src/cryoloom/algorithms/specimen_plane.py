"""The middle of the specimen as a plane: where a slab must lie for the images to foretell each other best.

Its slope across the tilt axis is the pretilt that a tilt offset would undo.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.coarse_alignment import prepared_for_correlation
from cryoloom.algorithms.foretold_images import foretold_images
from cryoloom.algorithms.parabola import highest_by_parabola
from cryoloom.algorithms.series_geometry import SeriesGeometry
from cryoloom.algorithms.tilt_images import TiltImages

__all__ = ["find_plane"]

Array = NDArray[np.float64]

STEEP_DEG = 30.0  # images less tilted hardly tell height
# Steps of height (angstrom) and of both slopes, in turn, coarse and fine; a parabola refines each.
SEARCHES = ((1, 0.12, 3), (0, 150.0, 2), (2, 0.1, 1), (1, 0.06, 1), (0, 60.0, 1))


def find_plane(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Plane ``z = a + b x + c y`` of the specimen's middle: (a in angstrom, b, c).

    Images of 100 to 150 pixels a side are enough.
    """
    prepared, _ = prepared_for_correlation(tilt_images)
    steep = usable & (np.abs(geometry.tilt_deg) > STEEP_DEG)
    if steep.sum() < 4:
        return (0.0, 0.0, 0.0)
    judged = torch.from_numpy(np.flatnonzero(steep))

    def likeness(plane: Array) -> float:
        at = (float(plane[0]), float(plane[1]), float(plane[2]))
        foretold = foretold_images(tilt_images, geometry, usable, at, only=steep)[judged]
        scaled = TiltImages(
            foretold / (foretold.flatten(1).std(dim=1)[:, None, None] + 1e-9),
            tilt_images.pixel_size_angstrom,
            tilt_images.mean[steep],
            tilt_images.deviation[steep],
        )
        a, b = prepared_for_correlation(scaled)[0], prepared[judged]
        norm = torch.sqrt((a**2).flatten(1).sum(dim=1) * (b**2).flatten(1).sum(dim=1)) + 1e-9
        return float(((a * b).flatten(1).sum(dim=1) / norm).mean())

    plane = np.zeros(3)
    for variable, step, reach in SEARCHES:
        ticks = step * np.arange(-reach, reach + 1, dtype=np.float64)
        scores = []
        for tick in ticks:
            trial = plane.copy()
            trial[variable] += tick
            scores.append(likeness(trial))
        plane[variable] += highest_by_parabola(ticks, np.array(scores))
    return float(plane[0]), float(plane[1]), float(plane[2])
