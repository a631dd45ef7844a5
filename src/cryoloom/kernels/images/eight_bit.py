"""Sections to 8 bits for display, and to half their size: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.eight_bit_cpu import (
    halve_eight_bit_numba,
    mean_across_numba,
    to_eight_bit_numba,
)
from cryoloom.kernels.tensors import on_cpu

__all__ = ["halve_eight_bit", "mean_across", "to_eight_bit"]


def to_eight_bit(section: torch.Tensor, low: float, high: float, out: torch.Tensor) -> None:
    """Fill ``out`` with ``section`` mapped linearly: ``low`` becomes 0, ``high`` 255; NaN becomes 0.

    section, out : (y, x) float32 and uint8, same shape, on one device. Rounded to the nearest.
    """
    if section.shape != out.shape:
        raise ValueError(f"expected one shape, got {tuple(section.shape)} and {tuple(out.shape)}")
    if on_cpu(section, out):
        to_eight_bit_numba(section.numpy(), low, high, out.numpy())
        return
    mapped = section * (255.0 / (high - low)) + (0.5 - low * 255.0 / (high - low))
    out.copy_(mapped.nan_to_num(0.0).clamp(0.0, 255.0).to(torch.uint8))


def halve_eight_bit(first: torch.Tensor, second: torch.Tensor, out: torch.Tensor) -> None:
    """Fill ``out`` with means over 2 x 2 x 2 of two sections (the same one twice for 2 x 2).

    first, second : (y, x) uint8. out : (ceil(y / 2), ceil(x / 2)) uint8; an odd last row or column stands
    for two. Halves are rounded up.
    """
    n_y, n_x = first.shape
    if second.shape != first.shape or tuple(out.shape) != ((n_y + 1) // 2, (n_x + 1) // 2):
        raise ValueError(
            f"sections {tuple(first.shape)}, {tuple(second.shape)} do not fit {tuple(out.shape)}"
        )
    if on_cpu(first, second, out):
        halve_eight_bit_numba(first.numpy(), second.numpy(), out.numpy())
        return
    both = first.to(torch.int32) + second
    rows = both[0::2] + both[[min(y + 1, n_y - 1) for y in range(0, n_y, 2)]]
    total = rows[:, 0::2] + rows[:, [min(x + 1, n_x - 1) for x in range(0, n_x, 2)]]
    out.copy_(((total + 4) >> 3).to(torch.uint8))


def mean_across(volume: torch.Tensor, begin: int, end: int, out: torch.Tensor) -> None:
    """Fill ``out`` with the mean of columns ``begin`` to ``end`` of a volume, seen along x.

    volume : (z, y, x) uint8. out : (y, z) float32. Each row of the volume is touched once, whatever the
    thickness.
    """
    if tuple(out.shape) != (volume.shape[1], volume.shape[0]) or not 0 <= begin < end <= volume.shape[2]:
        raise ValueError(f"columns {begin} to {end} of {tuple(volume.shape)} do not fit {tuple(out.shape)}")
    if on_cpu(volume, out):
        mean_across_numba(volume.numpy(), begin, end, out.numpy())
        return
    out.copy_(volume[..., begin:end].float().mean(dim=-1).T)
