"""Low frequencies of rows, then of columns of what is kept: scipy's transforms on the CPU, torch on CUDA."""

from __future__ import annotations

import scipy.fft
import torch

from cryoloom.kernels.tensors import on_cpu

__all__ = ["low_frequencies_of_columns", "low_frequencies_of_rows"]


def low_frequencies_of_rows(rows: torch.Tensor, spectra: torch.Tensor) -> None:
    """Fill ``spectra`` ``(row, k)`` complex64 with the first k values of the rows' rfft.

    rows : (row, n) float32, k at most ``n // 2 + 1``. On the CPU the calling thread works alone.
    """
    k = spectra.shape[1]
    if len(rows) != len(spectra) or k > rows.shape[1] // 2 + 1:
        raise ValueError(f"rows {tuple(rows.shape)} do not have the frequencies {tuple(spectra.shape)}")
    if on_cpu(rows, spectra):
        # Not torch's transform, which takes all threads: images are read side by side.
        spectra.numpy()[...] = scipy.fft.rfft(rows.numpy(), axis=1)[:, :k]
    else:
        spectra.copy_(torch.fft.rfft(rows)[:, :k])


def low_frequencies_of_columns(columns: torch.Tensor, n_kept: int) -> torch.Tensor:
    """Transforms of columns ``(n, column)`` complex64 at their lowest frequencies, ``(n_kept, column)``.

    n_kept : even; half of them are the lowest from 0 on, the others the highest ones, which are negative.
    """
    n, half = len(columns), n_kept // 2
    if n_kept % 2 or n_kept > n:
        raise ValueError(f"expected an even number of frequencies up to {n}, got {n_kept}")
    if on_cpu(columns):
        transformed = torch.from_numpy(scipy.fft.fft(columns.numpy(), axis=0))
    else:
        transformed = torch.fft.fft(columns, dim=0)
    return torch.cat([transformed[:half], transformed[n - half :]])
