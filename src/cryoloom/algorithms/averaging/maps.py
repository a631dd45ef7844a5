"""Maps of particles in real space: onto another grid, low-passed, scaled to the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, spline_filter

from cryoloom.algorithms.averaging.fourier_cube import cube_frequency
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.algorithms.images.volume_fourier import exact_radial_frequency_rfftn
from cryoloom.kernels.slices.fourier_slices import take_slices

__all__ = ["joined_below", "low_pass", "map_on_grid", "radial_cube", "radial_terms"]


def map_on_grid(
    density: NDArray[np.float32] | torch.Tensor, voxel_angstrom: float, n: int, new_voxel_angstrom: float
) -> torch.Tensor:
    """A map ``(z, y, x)`` on a cube of ``n`` voxels of another size; index ``n // 2`` stays the centre.

    Frequencies beyond the new grid are removed first; outside the old map the values are 0.
    """
    values = np.asarray(density, dtype=np.float64)
    if new_voxel_angstrom > voxel_angstrom:
        values = _low_passed(values, voxel_angstrom, 2.0 * new_voxel_angstrom)
    ratio = new_voxel_angstrom / voxel_angstrom
    centre_in, centre_out = np.array(values.shape) // 2, np.full(3, n // 2)
    moved = affine_transform(
        spline_filter(values, order=3, mode="grid-constant"),
        np.full(3, ratio),
        centre_in - ratio * centre_out,
        output_shape=(n, n, n),
        order=3,
        prefilter=False,
        mode="grid-constant",
    )
    return torch.tensor(moved, dtype=torch.float32)


def low_pass(density: torch.Tensor, voxel_angstrom: float, resolution_angstrom: float) -> torch.Tensor:
    """A map low-pass filtered to a resolution: a cosine edge of two shells, full up to it."""
    found = _low_passed(density.numpy().astype(np.float64), voxel_angstrom, resolution_angstrom)
    return torch.tensor(found, dtype=torch.float32)


def joined_below(
    halves: Sequence[torch.Tensor], voxel_angstrom: float, resolution_angstrom: float
) -> list[torch.Tensor]:
    """Two maps with a common part below a resolution: their mean there, each its own beyond."""
    mean = 0.5 * (halves[0] + halves[1])
    return [half + low_pass(mean - half, voxel_angstrom, resolution_angstrom) for half in halves]


def radial_cube(cube: torch.Tensor) -> torch.Tensor:
    """A half cube of its mean over directions at each frequency."""
    radius = cube_frequency(cube.shape)
    shell = torch.round(2 * radius).long()
    counts = torch.bincount(shell.ravel()).clamp(min=1)
    mean = torch.bincount(shell.ravel(), cube.real.double().ravel()) / counts
    place = (2 * radius).clamp(max=len(mean) - 1.001)
    low = place.long()
    part = (place - low).double()
    value = mean[low] * (1 - part) + mean[low + 1] * part
    return value.to(torch.complex64)


def radial_terms(images: ParticleImages, cube: torch.Tensor, n_used: int) -> tuple[float, float]:
    """Cross and quadratic term of all particles with a reference's radial part, at no shift.

    Their ratio is the scale of the reference in the data, for any orientations.
    """
    samples = images.plane.samples[:n_used].contiguous()
    frames = frames_of(images.matrices, np.eye(3)[None]).reshape(-1, 2, 3)
    slices = take_slices(radial_cube(cube), frames, samples).numpy()
    cross = (images.data[..., :n_used] * slices.conj()[None]).real.sum(dtype=np.float64)
    quadratic = (images.weights[..., :n_used] * np.abs(slices[None]) ** 2).sum(dtype=np.float64)
    return float(cross), float(quadratic)


def _low_passed(
    values: NDArray[np.float64], voxel_angstrom: float, resolution_angstrom: float
) -> NDArray[np.float64]:
    radius = exact_radial_frequency_rfftn(values.shape, voxel_angstrom)
    # The edge begins at the resolution: nothing inside the band is weakened.
    edge = 2.0 / (max(values.shape) * voxel_angstrom)
    fall = np.clip((radius - 1.0 / resolution_angstrom) / edge, 0.0, 1.0)
    filtered = np.fft.rfftn(values) * (0.5 + 0.5 * np.cos(np.pi * fall))
    return np.asarray(np.fft.irfftn(filtered, s=values.shape, axes=(0, 1, 2)))
