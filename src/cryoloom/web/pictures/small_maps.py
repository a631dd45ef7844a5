"""Small versions of maps for the surface on a page and for the outlines of an average at its particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.map_quality.surface_mesh import surface_mesh
from cryoloom.web.pictures.levels import binned

__all__ = ["Outline", "outline_of", "small_position", "small_volume"]

_SURFACE_VOXELS = 96
"""Chosen: side of a map whose surface a browser draws without delay."""
_OUTLINE_VOXELS = 24
"""Chosen: side of the map for an outline; about a thousand triangles, drawn at hundreds of particles."""
_DEVIATIONS = 3.0
"""Chosen: standard deviations above the mean; most of a particle's density, and no noise around it."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A coarse surface of a map."""

    vertices_xyz_angstrom: NDArray[np.float32]
    """Positions from the map's centre, ``(n, 3)``."""
    triangles: NDArray[np.uint32]
    """Indices of vertices, ``(m, 3)``."""


def small_volume(
    pixels: Any, shape: tuple[int, int, int], most: int = _SURFACE_VOXELS
) -> tuple[NDArray[np.uint8], float, float]:
    """A volume averaged to at most this many voxels a side, in 8 bits from lowest to highest value."""
    factor = _factor(shape, most)
    planes = []
    for z in range(0, shape[0] - factor + 1, factor):
        total = binned(np.array(pixels[z], dtype=np.float32), factor)
        for more in range(1, factor):
            total = total + binned(np.array(pixels[z + more], dtype=np.float32), factor)
        planes.append(total / factor)
    values = np.nan_to_num(np.stack(planes))
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return scaled.round().astype(np.uint8), low, high


def small_position(
    xyz: NDArray[np.float32], shape: tuple[int, int, int], most: int = _SURFACE_VOXELS
) -> NDArray[np.float32]:
    """Positions in voxels from the map's centre (index n // 2), from xyz indices of its `small_volume`."""
    factor = _factor(shape, most)
    centre = np.array(shape[::-1], dtype=np.float32) // 2
    return np.asarray(xyz * factor + (factor - 1) / 2 - centre, dtype=np.float32)


def outline_of(pixels: Any, shape: tuple[int, int, int], voxel_size_angstrom: float) -> Outline:
    """Surface of a map with positive density, at three standard deviations above the mean."""
    small, _, _ = small_volume(pixels, shape, _OUTLINE_VOXELS)
    values = small.astype(np.float32)
    level = min(float(values.mean() + _DEVIATIONS * values.std()), 254.0)
    mesh = surface_mesh(values, level)
    positions = small_position(mesh.vertices_xyz, shape, _OUTLINE_VOXELS) * voxel_size_angstrom
    return Outline(np.asarray(positions, dtype=np.float32), mesh.triangles)


def _factor(shape: tuple[int, int, int], most: int) -> int:
    return max(1, -(-max(shape) // most))
