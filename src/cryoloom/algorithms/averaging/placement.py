"""A map placed into a volume at the poses of particles."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.geometry.frames import index_from_position

__all__ = ["place_map"]

Array = NDArray[np.float64]


def place_map(
    density: torch.Tensor,
    voxel_angstrom: float,
    positions_xyz_angstrom: Array,
    rotations: Array,
    into: NDArray[np.float32],
    into_voxel_angstrom: float,
    radius_angstrom: float,
) -> None:
    """Add a map ``(n, n, n)`` to a volume ``(z, y, x)`` at positions ``(n, 3)`` and rotations ``(n, 3, 3)``.

    radius_angstrom : how far from its centre the map is copied. Where copies overlap the larger value stays,
    so a place that is listed twice looks as one. What is finer than the volume's voxels is filtered out
    first.
    """
    if into_voxel_angstrom > voxel_angstrom:
        density = low_pass(density, voxel_angstrom, 2.0 * into_voxel_angstrom)
    coefficients = spline_filter(density.numpy().astype(np.float64), order=3, mode="grid-constant")
    centre = np.array(density.shape) // 2
    reach = math.ceil(radius_angstrom / into_voxel_angstrom)
    offsets = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    index = index_from_position(positions_xyz_angstrom, into.shape, into_voxel_angstrom)
    for place, rotation in zip(index, rotations, strict=True):
        whole = np.rint(place).astype(np.int64)
        voxels = whole + offsets
        # From the particle's centre, x y z in angstrom; in the reference's frame it is R^T of that.
        away = (voxels - place)[:, ::-1] * into_voxel_angstrom
        inside = ((voxels >= 0) & (voxels < into.shape)).all(axis=1)
        inside &= np.linalg.norm(away, axis=1) <= radius_angstrom
        if not inside.any():
            continue
        at = (away[inside] @ rotation)[:, ::-1] / voxel_angstrom + centre
        values = map_coordinates(coefficients, at.T, order=3, prefilter=False, mode="grid-constant")
        where = tuple(voxels[inside].T)
        into[where] = np.where(np.abs(values) > np.abs(into[where]), values, into[where])
