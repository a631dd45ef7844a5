"""Values of cubic B-splines in torch, on any device: the twin of the loops in `*_cpu`."""

from __future__ import annotations

import torch

__all__ = ["cubic_spline_values"]


def cubic_spline_values(coefficients: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """``sum_ij c[i, j] B3(y - i) B3(x - j)`` at positions, of the positions' shape, float32.

    coefficients : (y, x) float32, periodic. y, x : positions in pixels, any shape, finite.
    """
    n_y, n_x = coefficients.shape
    row, column = y.floor(), x.floor()
    along_y, along_x = _weights((y - row).float()), _weights((x - column).float())
    row, column = row.long() - 1, column.long() - 1
    value = torch.zeros(y.shape, dtype=torch.float32, device=coefficients.device)
    for i, weight_y in enumerate(along_y):
        line = torch.zeros_like(value)
        for j, weight_x in enumerate(along_x):
            line += weight_x * coefficients[(row + i) % n_y, (column + j) % n_x]
        value += weight_y * line
    return value


def _weights(f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cubic B-splines centred on -1, 0, 1 and 2, at ``f`` from 0 to 1."""
    g = 1 - f
    return g**3 / 6, 2 / 3 - f * f * (1 - f / 2), 2 / 3 - g * g * (1 - g / 2), f**3 / 6
