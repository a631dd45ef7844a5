"""Spectra multiplied by a function of the frequency's length: numba on the CPU, torch on CUDA."""

from __future__ import annotations

import torch

from cryoloom.kernels.images.radial_weights_cpu import weight_radially_numba
from cryoloom.kernels.tensors import on_cpu

__all__ = ["weight_radially"]


def weight_radially(
    spectrum: torch.Tensor,
    frequency_y: torch.Tensor,
    frequency_x: torch.Tensor,
    table: torch.Tensor,
    highest: float,
) -> None:
    """Multiply ``spectrum`` ``(y, x)`` complex64 by the table's value at each frequency's length, in place.

    frequency_y, frequency_x : (y,) and (x,) float32. table : (k,) float32, values at evenly spaced lengths
    from 0 to ``highest``, in between linear; frequencies in its unit.
    """
    if spectrum.shape != (len(frequency_y), len(frequency_x)) or len(table) < 2:
        raise ValueError(f"spectrum {tuple(spectrum.shape)} and frequencies or table do not fit")
    if on_cpu(spectrum, frequency_y, frequency_x, table):
        weight_radially_numba(
            spectrum.numpy(), frequency_y.numpy(), frequency_x.numpy(), table.numpy(), highest
        )
        return
    position = torch.hypot(frequency_y[:, None], frequency_x[None]) * ((len(table) - 1) / highest)
    i = position.long().clamp(max=len(table) - 2)
    spectrum *= table[i] + (position - i) * (table[i + 1] - table[i])
