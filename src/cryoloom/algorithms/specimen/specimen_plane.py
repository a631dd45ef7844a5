"""The middle of the specimen as a plane, for a geometry during alignment.

Its slope across the tilt axis is the pretilt that a tilt offset would undo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.algorithms.specimen.slab import energies_of_series, fit_slab
from cryoloom.model import Microscope, Pose, Tilt, TiltSeries

__all__ = ["find_plane"]

HEIGHT_ANGSTROM = 5000.0  # as `specimen_middle.SEARCH_HEIGHT_ANGSTROM`
LEAST_VIEWS = 5  # chosen: fewer do not determine a height
STEEPEST_DEG = 82.0
"""Chosen, of a plane to a beam: no specimen shows anything then, and beyond 84 none can be projected."""


def find_plane(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Plane ``z = a + b x + c y`` of the specimen's middle: (a in angstrom, b, c); 0 if it is not found.

    Images of 100 to 150 pixels per side are enough. rng : for the noise control.
    """
    if usable.sum() < LEAST_VIEWS:
        return (0.0, 0.0, 0.0)
    tilts = tuple(
        Tilt(
            view,
            float(geometry.tilt_deg[view]),
            0.0,
            0.0,
            section=view,
            pose=Pose(
                float(geometry.axis_deg[view]),
                float(geometry.tilt_deg[view]),
                float(geometry.x_tilt_deg[view]),
                (float(geometry.shift_xy_angstrom[view, 0]), float(geometry.shift_xy_angstrom[view, 1])),
                float(geometry.magnification[view]),
            ),
        )
        for view in map(int, np.flatnonzero(usable))
    )
    pixel = tilt_images.pixel_size_angstrom
    series = TiltSeries("plane", Microscope(), pixel, tilts)
    energies, _ = energies_of_series(
        series, tilt_images, rng, voxel_size_angstrom=pixel, height_angstrom=HEIGHT_ANGSTROM
    )
    fit = fit_slab(energies)
    steepest = float(np.abs(geometry.tilt_deg[usable]).max()) + np.degrees(np.arctan(abs(fit.slope_x)))
    is_found = fit.is_certain and steepest < STEEPEST_DEG
    return (fit.z_offset_angstrom, fit.slope_x, fit.slope_y) if is_found else (0.0, 0.0, 0.0)
