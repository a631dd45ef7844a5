"""Search of particles of known direction: all azimuths about it, a cone of axes, shifts along a surface.

Particles of similar direction are searched together: the grid of rotations and the disc of shifts are rotated
to their common direction. A cone of 10 degrees holds a hundredth of all orientations. Shifts along the
surface may be large while those along the normal are small.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryoloom.geometry.orientation_grid import even_directions, z_axis_to
from cryoloom.geometry.rotations import rotation_from_vector, rotation_z
from cryoloom.model import ParticleRows

__all__ = ["DirectedGrid", "carried_directions", "like_directions"]

Array = NDArray[np.float64]

_CELL_DEG = 15.0
"""Chosen: distance of the directions that particles are searched together about."""


@dataclass(frozen=True, slots=True)
class DirectedGrid:
    """Grid of a search about known directions. The likelihood is raised to ``temperature``, 1 or less."""

    azimuth_step_deg: float
    cone_step_deg: float
    cone_reach_deg: float
    along_angstrom: float
    """Radius of the disc of shifts in the plane across the direction."""
    normal_angstrom: float
    """Largest shift along the direction."""
    shift_step_angstrom: float
    azimuth_range_deg: float = 360.0
    temperature: float = 1.0
    about_picks: bool = False
    """Place the shifts about the positions that were extracted, not about the current ones."""
    phase: float = 0.0
    """Part of a step, below 1, by which the azimuths are moved, so that every pass has another grid."""

    @property
    def n_azimuths(self) -> int:
        """Azimuths of the grid: rotations come in groups of so many about one axis."""
        return max(1, round(self.azimuth_range_deg / self.azimuth_step_deg))

    def parts(self, directions: Array) -> Iterator[tuple[NDArray[np.int64], Array, Array]]:
        """Particles of like directions ``(n, 3)``, and the rotations and shifts to search for them."""
        turns, shifts = self._turns(), self._shifts()
        for centre, mine in like_directions(directions):
            frame = z_axis_to(centre)
            yield mine, frame @ turns, shifts @ frame.T

    def _turns(self) -> Array:
        """Rotations about z, then tilts of z within the cone."""
        n = math.ceil(self.cone_reach_deg / self.cone_step_deg - 1e-6)
        axis = self.cone_step_deg * np.arange(-n, n + 1)
        x, y = (values.ravel() for values in np.meshgrid(axis, axis, indexing="ij"))
        inside = np.hypot(x, y) <= self.cone_reach_deg + 1e-6
        tilts = rotation_from_vector(np.deg2rad(np.column_stack([x, y, np.zeros(len(x))])[inside]))
        count = self.n_azimuths
        azimuths = self.azimuth_range_deg / count * (np.arange(count) + self.phase)
        return (tilts[:, None] @ rotation_z(azimuths)[None]).reshape(-1, 3, 3)

    def _shifts(self) -> Array:
        """Shifts of a flat cylinder about z, none first."""
        step = self.shift_step_angstrom
        n, m = (math.floor(most / step + 1e-6) for most in (self.along_angstrom, self.normal_angstrom))
        plane, height = step * np.arange(-n, n + 1), step * np.arange(-m, m + 1)
        x, y, z = (values.ravel() for values in np.meshgrid(plane, plane, height, indexing="ij"))
        grid = np.column_stack([x, y, z])[np.hypot(x, y) <= self.along_angstrom + 1e-6]
        return grid[np.argsort(np.linalg.norm(grid, axis=1), kind="stable")]


def like_directions(directions: Array) -> list[tuple[Array, NDArray[np.int64]]]:
    """Groups of unit vectors ``(n, 3)`` near one of some even directions: that direction, and the members."""
    centres = even_directions(math.ceil(4.0 * math.pi / math.radians(_CELL_DEG) ** 2))
    own = np.argmax(directions @ centres.T, axis=1) if len(directions) else np.zeros(0, np.int64)
    return [(centres[cell], np.flatnonzero(own == cell)) for cell in np.unique(own)]


def carried_directions(rows: ParticleRows, positions_xyz_angstrom: Array, reach_angstrom: float) -> Array:
    """Directions ``(n, 3)`` of picks on surfaces after they moved: the surface's at the new place.

    It is the mean over the picks of the same surface, weighted by a Gaussian of their distance. Particles on
    no surface keep their own.
    """
    if rows.prior_directions is None:
        raise ValueError("expected particles with directions")
    carried = rows.prior_directions.copy()
    surface = np.full(rows.n, -1) if rows.surface is None else rows.surface
    for name in np.unique(rows.tomogram):
        for number in np.unique(surface[(rows.tomogram == name) & (surface >= 0)]):
            mine = np.flatnonzero((rows.tomogram == name) & (surface == number))
            places = positions_xyz_angstrom[mine]
            near = cKDTree(places).sparse_distance_matrix(
                cKDTree(rows.positions_xyz_angstrom[mine]), 3.0 * reach_angstrom, output_type="coo_matrix"
            )
            weight = np.exp(-0.5 * (near.data / reach_angstrom) ** 2)
            total = np.zeros((len(mine), 3))
            np.add.at(total, near.row, weight[:, None] * rows.prior_directions[mine][near.col])
            length = np.linalg.norm(total, axis=1)
            known = length > 0
            carried[mine[known]] = total[known] / length[known, None]
    return carried
