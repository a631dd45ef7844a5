"""Picks of a tomogram as an IMOD model for `3dmod tomogram.mrc picks.mod`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cryoloom.formats.imod.model import ImodModel, ImodObject
from cryoloom.geometry.frames import index_from_position

__all__ = ["picks_as_model"]

_CORNER = np.array([0.5, 0.5, 0.0])
"""Half a pixel in x and y."""


def picks_as_model(
    picks: Mapping[str, Sequence[Sequence[Any]]],
    places: Mapping[str, Sequence[Sequence[float]]],
    shape: tuple[int, int, int],
    voxel_size_angstrom: float,
) -> ImodModel:
    """A model with an object for each set of picks, and for the positions on each surface or filament.

    picks : (number, x, y, z, who) by set, places : (x, y, z), both in angstrom from the centre of the volume
    (z, y, x) of ``shape``.
    """
    named = {name: np.array([one[1:4] for one in points], dtype=float) for name, points in picks.items()}
    named |= {name: np.array(points, dtype=float) for name, points in places.items()}
    objects = []
    for name, positions in named.items():
        index_zyx = index_from_position(positions.reshape(-1, 3), shape, voxel_size_angstrom)
        # IMOD counts x and y from the corner, z from the middle of the first section.
        objects.append(ImodObject(name, (index_zyx[:, ::-1] + _CORNER,)))
    return ImodModel(shape, tuple(objects), voxel_size_angstrom)
