"""Fourier slices with torch's own gather and scatter: any device, and the oracle of the CPU's loops."""

from __future__ import annotations

import math

import torch

__all__ = ["insert_slices_torch", "score_poses_torch", "sum_equivalents_torch", "take_slices_torch"]


def take_slices_torch(
    cube: torch.Tensor, frames: torch.Tensor, samples: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Slices ``(n, m)`` and their gradients along the cube's axes x, y, z, ``(n, m, 3)``."""
    corner, fraction, flipped = _corners(frames, samples)
    middle = cube.shape[0] // 2
    value = torch.zeros(corner.shape[:-1], dtype=cube.dtype, device=cube.device)
    gradient = torch.zeros(corner.shape, dtype=cube.dtype, device=cube.device)
    for offset in _OFFSETS:
        weights = [fraction[..., a] if offset[a] else 1.0 - fraction[..., a] for a in range(3)]
        found = cube[
            corner[..., 2] + offset[2] + middle,
            corner[..., 1] + offset[1] + middle,
            corner[..., 0] + offset[0],
        ]
        value += weights[0] * weights[1] * weights[2] * found
        for a in range(3):
            others = weights[(a + 1) % 3] * weights[(a + 2) % 3]
            gradient[..., a] += (1.0 if offset[a] else -1.0) * others * found
    value = torch.where(flipped, value.conj(), value)
    return value, torch.where(flipped[..., None], -gradient.conj(), gradient)


def insert_slices_torch(
    values: torch.Tensor,
    weights: torch.Tensor,
    frames: torch.Tensor,
    samples: torch.Tensor,
    cube: torch.Tensor,
    weight_cube: torch.Tensor,
) -> None:
    """Add to both cubes; the transpose of the slices of `take_slices_torch`."""
    corner, fraction, flipped = _corners(frames, samples)
    middle, n_y, n_x = cube.shape[0] // 2, cube.shape[1], cube.shape[2]
    values = torch.where(flipped, values.conj(), values)
    for offset in _OFFSETS:
        share = [fraction[..., a] if offset[a] else 1.0 - fraction[..., a] for a in range(3)]
        product = share[0] * share[1] * share[2]
        index = (
            (corner[..., 2] + offset[2] + middle) * n_y + corner[..., 1] + offset[1] + middle
        ) * n_x + corner[..., 0]
        index = (index + offset[0]).reshape(-1)
        torch.view_as_real(cube).reshape(-1, 2).index_add_(
            0, index, torch.view_as_real(product * values).reshape(-1, 2)
        )
        weight_cube.reshape(-1).index_add_(0, index, (product * weights).reshape(-1))


def score_poses_torch(
    cube: torch.Tensor,
    data: torch.Tensor,
    weights: torch.Tensor,
    frames: torch.Tensor,
    shifts: torch.Tensor,
    samples: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As `fourier_slices.score_poses`, particle by particle."""
    terms, gradients, curvatures = [], [], []
    for i in range(len(data)):
        value, slope = take_slices_torch(cube, frames[i], samples)
        k = torch.einsum("ma,tab->tmb", samples, frames[i])
        seen = data[i] * torch.exp(2j * math.pi * (k @ shifts[i]))
        residual = seen - weights[i] * value
        by_turn = torch.linalg.cross(slope, k.to(slope.dtype))
        by_shift = -2j * math.pi * k * value[..., None]
        change = torch.cat([by_turn, by_shift], dim=-1)
        cross = (seen * value.conj()).real.double().sum(1)
        quadratic = (weights[i] * value.abs() ** 2).double().sum(1)
        terms.append(torch.stack([cross, quadratic], dim=-1))
        gradients.append((change.conj() * residual[..., None]).real.double().sum((0, 1)))
        flat = change.reshape(-1, 6).to(torch.complex128)
        weighted = flat * weights[i].reshape(-1, 1)
        curvatures.append((flat.conj().T @ weighted).real)
    return torch.stack(terms), torch.stack(gradients), torch.stack(curvatures)


def sum_equivalents_torch(
    data: torch.Tensor, weights: torch.Tensor, operators: torch.Tensor, highest: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `cryoloom.kernels.slices.fourier_slices.sum_equivalents`."""
    n_z, n_y, n_x = data.shape
    middle, device = n_z // 2, data.device
    ticks = [torch.arange(n, device=device) - middle for n in (n_z, n_y)]
    z, y, x = torch.meshgrid(*ticks, torch.arange(n_x, device=device), indexing="ij")
    inside = x**2 + y**2 + z**2 <= highest**2
    frequencies = torch.stack([x, y, z], dim=-1)[inside].float()
    summed, summed_weights = torch.zeros_like(data), torch.zeros_like(weights)
    for operator in operators:
        corner, fraction, flipped = _cells(frequencies @ operator.T)
        for offset in _OFFSETS:
            share = torch.ones(len(corner), device=device)
            for a in range(3):
                share = share * (fraction[:, a] if offset[a] else 1.0 - fraction[:, a])
            # Where the share is 0, the corner may lie outside.
            at = [(corner[:, a] + offset[a] + shift) for a, shift in enumerate((0, middle, middle))]
            iz, iy, ix = (i.clamp(0, n - 1) for i, n in zip(reversed(at), data.shape, strict=True))
            found = data[iz, iy, ix]
            summed[inside] += share * torch.where(flipped, found.conj(), found)
            summed_weights[inside] += share * weights[iz, iy, ix]
    return summed, summed_weights


_OFFSETS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
"""The eight corners of a cell."""


def _corners(frames: torch.Tensor, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lower corner ``(n, m, 3)`` as x, y, z, place in the cell, and whether -k was taken instead."""
    return _cells(torch.einsum("ma,nab->nmb", samples, frames))


def _cells(k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same of frequencies ``(..., 3)`` as x, y, z."""
    flipped = k[..., 0] < 0
    k = torch.where(flipped[..., None], -k, k)
    corner = torch.floor(k)
    return corner.long(), k - corner, flipped
