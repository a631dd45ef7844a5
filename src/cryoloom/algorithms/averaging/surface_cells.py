"""Particles on surfaces: how far apart they are, and the part of space that belongs to one of them.

In a lattice neighbours stand nearer than a usual mask is wide. Coarse detail of the lattice then decides
how a particle is turned about its normal, whether or not the particle itself follows the lattice.
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

#: Diameter over the spacing. Simulated hexamers 80 A apart were turned by their neighbours in a mask of
#: 200 A, and by themselves in one of 120 A.
_CELL_SPACINGS = 1.45
_MOST = 0.5
# Of the cell's diameter; in angstrom, and in pixels of the images.
_FINE_DIAMETERS, _FINEST_ANGSTROM, _COARSEST_ANGSTROM, _FINEST_PX = 0.23, 20.0, 40.0, 2.5


def lie_on_surfaces(rows: ParticleRows) -> bool:
    """Whether every particle was picked on a surface, with its normal."""
    if rows.surface is None or rows.prior_directions is None:
        return False
    return bool((rows.surface >= 0).all() and np.isfinite(rows.prior_directions).all())


def has_directions(rows: ParticleRows) -> bool:
    """Whether most particles have a direction, of a normal or a filament."""
    if rows.prior_directions is None or not rows.n:
        return False
    return bool(np.isfinite(rows.prior_directions).all(axis=1).mean() > _MOST)


def spacing_angstrom(rows: ParticleRows) -> float | None:
    """Median distance of particles to the nearest one of their tomogram; None where there are no two."""
    nearest: list[NDArray[np.float64]] = [np.zeros(0)]
    for name in np.unique(rows.tomogram):
        places = rows.positions_xyz_angstrom[rows.tomogram == name]
        if len(places) > 1:
            nearest.append(cKDTree(places).query(places, 2)[0][:, 1])
    found = np.concatenate(nearest)
    return float(np.median(found)) if len(found) else None


def cell_diameter_angstrom(diameter_angstrom: float, spacing: float) -> float:
    """Diameter of the mask of one particle of a lattice, at most the one given."""
    return min(diameter_angstrom, _CELL_SPACINGS * spacing)


def azimuth_band_angstrom(cell_angstrom: float, image_pixel_angstrom: float) -> float:
    """Detail at which a particle itself shows how it is turned about its normal."""
    finest = max(_FINEST_ANGSTROM, _FINEST_PX * image_pixel_angstrom)
    return float(np.clip(_FINE_DIAMETERS * cell_angstrom, finest, max(finest, _COARSEST_ANGSTROM)))
