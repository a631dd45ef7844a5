"""Aligned images filtered and corrected at several depths in torch: whole images one by one."""

from __future__ import annotations

import math

import scipy.fft
import torch

from cryoloom.kernels.projection.depth_factors import METHODS, DepthFactors, TransformLengths
from cryoloom.kernels.rows.extend_rows_torch import extend_rows_torch
from cryoloom.kernels.rows.filter_rows_torch import refine_rows_torch

__all__ = ["correct_depths_torch"]


def correct_depths_torch(
    rows: torch.Tensor,
    filters: torch.Tensor,
    factors: DepthFactors,
    lengths: TransformLengths,
    margin: int,
    taps: torch.Tensor,
    nodes: torch.Tensor,
) -> None:
    """See `cryoloom.kernels.projection.correct_depths.correct_depths`."""
    n_strips, _, _, height = nodes.shape
    _, n_rows, n = rows.shape
    # Zeros along y, so that what lies at one end does not reach the other.
    shape = (scipy.fft.next_fast_len(n_rows + margin), lengths.along_x)
    begin, inside = (lengths.padded - n) // 2 - margin, n_rows - 2 * margin
    strips = torch.zeros((n_strips * height, n + 2 * margin), device=rows.device)
    for tilt in range(len(rows)):
        padded = torch.empty((1, n_rows, lengths.padded), device=rows.device)
        extend_rows_torch(rows[tilt : tilt + 1], padded)
        filtered = torch.fft.irfft(torch.fft.rfft(padded[0]) * filters[tilt], n=lengths.padded)
        spectrum = torch.fft.rfft2(filtered[:, begin : begin + n + 2 * margin], s=shape)
        turns, per_depth = _turns(factors.forms[tilt].tolist(), shape, rows.device)
        for node in range(int(factors.first_node[tilt]), int(factors.first_node[tilt + 1])):
            c = torch.sin(2 * math.pi * (turns - float(factors.depths[node]) * per_depth))
            corrected = torch.fft.irfft2(spectrum * _factor(c, factors), s=shape)
            strips[:inside] = corrected[margin : margin + inside, : n + 2 * margin]
            refine_rows_torch(strips.reshape(n_strips, height, -1), margin, taps, nodes[:, node])


def _turns(
    forms: list[float], shape_yx: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turns at depth 0, of which only the fraction counts, and their decrease by depth, float32."""
    d_xx, d_xy, d_yy, k_xx, k_xy, k_yy, fourth, constant = forms
    y = torch.fft.fftfreq(shape_yx[0], dtype=torch.float64, device=device)[:, None]
    x = torch.fft.rfftfreq(shape_yx[1], dtype=torch.float64, device=device)[None]
    squared = k_xx * x**2 + k_xy * x * y + k_yy * y**2
    turns = d_xx * x**2 + d_xy * x * y + d_yy * y**2 + fourth * squared**2 + constant
    return (turns - turns.round()).float(), squared.float()


def _factor(c: torch.Tensor, factors: DepthFactors) -> torch.Tensor:
    method = METHODS[factors.method]
    if method == "multiply":
        return c
    return torch.where(c < 0, -1.0, 1.0) if method == "phase_flip" else c / (c**2 + factors.noise)
