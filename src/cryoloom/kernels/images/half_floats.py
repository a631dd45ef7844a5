"""16-bit floats to 32 bits and back, exactly as IEEE 754 has it: numba on the CPU, torch on CUDA.

What reads pixels without torch calls the twin in `half_floats_cpu`.
"""

from __future__ import annotations

import torch

from cryoloom.kernels.images.half_floats_cpu import floats_from_halves_numba, halves_from_floats_numba
from cryoloom.kernels.tensors import on_cpu

__all__ = ["floats_from_halves", "halves_from_floats"]


def floats_from_halves(halves: torch.Tensor, values: torch.Tensor) -> None:
    """Fill ``values`` ``(n,)`` float32 with the numbers of ``halves`` ``(n,)`` float16."""
    _check(halves, values)
    if on_cpu(halves, values):
        floats_from_halves_numba(halves.view(torch.uint16).numpy(), values.numpy())
    else:
        values.copy_(halves)


def halves_from_floats(values: torch.Tensor, halves: torch.Tensor) -> None:
    """Fill ``halves`` ``(n,)`` float16 with ``values`` ``(n,)`` float32 rounded to the nearest, ties to even.

    Values of 65520 and more become infinite.
    """
    _check(halves, values)
    if on_cpu(halves, values):
        halves_from_floats_numba(values.numpy(), halves.view(torch.uint16).numpy())
    else:
        halves.copy_(values)


def _check(halves: torch.Tensor, values: torch.Tensor) -> None:
    if halves.dtype != torch.float16 or values.dtype != torch.float32:
        raise TypeError(f"expected float16 and float32, got {halves.dtype} and {values.dtype}")
    if halves.ndim != 1 or halves.shape != values.shape:
        raise ValueError(f"expected as many of both, got {tuple(halves.shape)} and {tuple(values.shape)}")
