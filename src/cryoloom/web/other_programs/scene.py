"""Data for another program: a tomogram, and positions in it with or without orientations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.series.derived_pixels import files_of
from cryoloom.geometry.orientation_grid import z_axis_to
from cryoloom.model import ParticleRows

__all__ = ["PlacedSet", "Scene", "file_of", "sets_of_particles", "sets_of_picks"]


@dataclass(frozen=True)
class PlacedSet:
    """Positions of one kind."""

    name: str
    positions_xyz_angstrom: NDArray[np.float64]
    """Positions from the centre of the tomogram, ``(n, 3)``."""
    rotations: NDArray[np.float64] | None = None
    """Rotations from the reference to the tomogram, ``(n, 3, 3)``; None if only positions are known."""
    diameter_angstrom: float | None = None
    map_path: Path | None = None
    """Map of the particle, in the frame of the rotations."""


@dataclass(frozen=True)
class Scene:
    """A tomogram and the sets of positions in it."""

    name: str
    path: Path
    shape: tuple[int, int, int]
    """``(z, y, x)``."""
    voxel_size_angstrom: float
    sets: tuple[PlacedSet, ...] = ()

    @property
    def centre_index_xyz(self) -> tuple[int, int, int]:
        """Index of the voxel at the origin of positions."""
        n_z, n_y, n_x = self.shape
        return n_x // 2, n_y // 2, n_z // 2


def sets_of_picks(
    picks: Mapping[str, Sequence[Sequence[Any]]], places: Mapping[str, Mapping[str, Any]]
) -> list[PlacedSet]:
    """Picks and positions on drawn surfaces as sets.

    picks : (number, x, y, z, who) by set. places : ``places`` and ``normals`` (the z axes), by model.
    """
    sets = [PlacedSet(name, _points([one[1:4] for one in points])) for name, points in picks.items()]
    for name, one in places.items():
        if len(one["places"]):
            rotations = z_axis_to(_points(one["normals"]))
            sets.append(PlacedSet(name, _points(one["places"]), rotations))
    return sets


def sets_of_particles(
    name: str, rows: ParticleRows, tomogram: str, diameter_angstrom: float | None, map_path: Path | None
) -> PlacedSet:
    """Particles of a set in a tomogram."""
    mine = rows.take(np.flatnonzero(rows.tomogram == tomogram))
    return PlacedSet(name, mine.positions_xyz_angstrom, mine.rotations, diameter_angstrom, map_path)


def file_of(pixels: object) -> Path | None:
    """File of the pixels; None if they are computed."""
    found = files_of(pixels)
    return found[0].absolute() if len(found) == 1 else None


def _points(values: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(-1, 3)
