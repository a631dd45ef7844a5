"""Particles on surfaces: their spacing, and the cell that belongs to one particle.

In a lattice the neighbours are nearer than the radius of a usual mask. Coarse detail of the lattice then
determines the rotation of a particle about its normal, even if the particle does not follow the lattice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryoloom.model import ParticleRows

__all__ = [
    "azimuth_band_angstrom",
    "cell_diameter_angstrom",
    "has_directions",
    "lie_on_surfaces",
    "spacing_angstrom",
]

#: Diameter of the cell over the spacing. With simulated hexamers 80 A apart, the neighbours determined the
#: azimuths in a mask of 200 A, and the particles themselves in a mask of 120 A.
_CELL_SPACINGS = 1.45
#: Chosen: part of the particles that must have a direction, a majority.
_MOST = 0.5
#: Chosen: detail for azimuths as a fraction of the cell's diameter, its limits in angstrom, and the finest in
#: pixels of the images.
_FINE_DIAMETERS, _FINEST_ANGSTROM, _COARSEST_ANGSTROM, _FINEST_PX = 0.23, 20.0, 40.0, 2.5


def lie_on_surfaces(rows: ParticleRows) -> bool:
    """Whether every particle was picked on a surface and has a normal."""
    if rows.surface is None or rows.prior_directions is None:
        return False
    return bool((rows.surface >= 0).all() and np.isfinite(rows.prior_directions).all())


def has_directions(rows: ParticleRows) -> bool:
    """Whether most particles have a direction, from a surface normal or a filament."""
    if rows.prior_directions is None or not rows.n:
        return False
    return bool(np.isfinite(rows.prior_directions).all(axis=1).mean() > _MOST)


def spacing_angstrom(rows: ParticleRows) -> float | None:
    """Median distance to the nearest particle of the same tomogram; None if no tomogram has two particles."""
    nearest: list[NDArray[np.float64]] = [np.zeros(0)]
    for name in np.unique(rows.tomogram):
        places = rows.positions_xyz_angstrom[rows.tomogram == name]
        if len(places) > 1:
            nearest.append(cKDTree(places).query(places, 2)[0][:, 1])
    found = np.concatenate(nearest)
    return float(np.median(found)) if len(found) else None


def cell_diameter_angstrom(diameter_angstrom: float, spacing: float) -> float:
    """Mask diameter for one particle of a lattice, at most the given diameter."""
    return min(diameter_angstrom, _CELL_SPACINGS * spacing)


def azimuth_band_angstrom(cell_angstrom: float, image_pixel_angstrom: float) -> float:
    """Detail at which a particle itself shows its rotation about its normal."""
    finest = max(_FINEST_ANGSTROM, _FINEST_PX * image_pixel_angstrom)
    return float(np.clip(_FINE_DIAMETERS * cell_angstrom, finest, max(finest, _COARSEST_ANGSTROM)))
