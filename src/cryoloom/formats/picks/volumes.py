"""Volumes that particles were picked in: what pixel coordinates and numbers of tomograms need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import index_from_position, position_from_index

__all__ = ["PickVolume", "Volumes", "name_of_number", "numbers_of_names", "volume_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PickVolume:
    """Shape and voxels of a tomogram, as coordinates count in it."""

    shape_zyx: tuple[int, int, int]
    voxel_angstrom: float

    def positions(self, pixels_xyz: ArrayLike, first: float = 0.0) -> Array:
        """Angstrom from the centre, ``(n, 3)``; ``first`` is what the first voxel's centre is called."""
        index = np.asarray(pixels_xyz, dtype=np.float64).reshape(-1, 3)[:, ::-1] - first
        return position_from_index(index, self.shape_zyx, self.voxel_angstrom)

    def pixels(self, positions_xyz_angstrom: ArrayLike, first: float = 0.0) -> Array:
        """Inverse of `positions`: x, y, z ``(n, 3)``."""
        positions = np.asarray(positions_xyz_angstrom, dtype=np.float64).reshape(-1, 3)
        return index_from_position(positions, self.shape_zyx, self.voxel_angstrom)[:, ::-1] + first


Volumes = Mapping[str, PickVolume]
"""Volumes by name of the tomogram."""


def volume_of(volumes: Volumes, name: str, program: str) -> PickVolume:
    """The volume of a tomogram. Raises DataUnfitError if it is not known."""
    if name in volumes:
        return volumes[name]
    raise DataUnfitError(
        f"{program} counts in voxels of the tomogram, but the shape of {name!r} is not known; known are "
        f"{sorted(volumes)}"
    )


def tomogram_of_file(path: Path, volumes: Volumes) -> str:
    """Tomogram of a file's particles: that whose name the file's begins with, or the only one.

    Without either it is the file's own name.
    """
    named = [name for name in sorted(volumes, key=len, reverse=True) if path.name.startswith(name)]
    return named[0] if named else next(iter(volumes)) if len(volumes) == 1 else path.stem


def numbers_of_names(names: Iterable[str]) -> dict[str, int]:
    """A number for each tomogram: the one that ends its name if these differ, else its position."""
    known = sorted(set(names))
    ends = [re.search(r"(\d+)$", name) for name in known]
    numbers = [int(found[1]) for found in ends if found is not None]
    if len(set(numbers)) == len(known) and 0 not in numbers:
        return dict(zip(known, numbers, strict=True))
    return {name: i + 1 for i, name in enumerate(known)}


def name_of_number(number: int, volumes: Volumes) -> str:
    """Name of the tomogram a program calls by a number; the number itself where none is meant."""
    named = {value: name for name, value in numbers_of_names(volumes).items()}
    return named.get(number, str(number))
