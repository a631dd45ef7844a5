"""Halves of an average as references: weighted by what they agree on, masked, on the grid of the images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages
from cryoloom.algorithms.map_quality.sharpening import sharpened
from cryoloom.algorithms.series_refinement.shift_scores import shell_terms

__all__ = ["reference_cubes", "scaled_to"]

Array = NDArray[np.float64]
_FALLEN = 0.05  # chosen: weight below which finer shells of the reference are not used


def reference_cubes(
    halves: tuple[torch.Tensor, torch.Tensor],
    mask: torch.Tensor,
    correlation: Array,
    voxel_angstrom: float,
    resolution_angstrom: float,
    layout: BoxLayout,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half cubes of both halves ``(n, n, n)`` for the samples of a layout.

    correlation : of the halves by shells; it is the Wiener weight of a single half, and 0 after its first
    fall. Amplitudes are those of the halves; `scaled_to` fits them to images.
    """
    weight = np.clip(correlation, 0.0, 1.0)
    fallen = np.flatnonzero(weight[1:] < _FALLEN) + 1
    if len(fallen):
        weight[int(fallen[0]) :] = 0.0
    highest = float(layout.plane.radius[-1])
    cubes = []
    for half in halves:
        outside = mask <= 0
        level = half[outside].mean() if bool(outside.any()) else half.new_zeros(())
        density = sharpened((half - level) * mask, voxel_angstrom, weight, 0.0, resolution_angstrom)
        moved = map_on_grid(density, voxel_angstrom, layout.crop_px, layout.pixel_size_angstrom)
        cubes.append(cube_of_map(moved * (layout.pixel_size_angstrom / voxel_angstrom), highest))
    return cubes[0], cubes[1]


def scaled_to(
    images: ParticleImages,
    cubes: tuple[torch.Tensor, torch.Tensor],
    which: NDArray[np.int64],
    rotations: Array,
    n_used: int,
) -> tuple[tuple[torch.Tensor, torch.Tensor], float]:
    """The cubes with the amplitude that the images show, and the factor; 0 or less where they do not fit."""
    cross, quadratic = shell_terms(images, cubes, which, rotations, n_used).sum(axis=(0, 1, 2))
    factor = float(cross / quadratic) if quadratic > 0 else 0.0
    return (cubes[0] * factor, cubes[1] * factor), factor
