"""Power of an image's tiles summed in bins on the CPU: one tile after the other, with a numba loop."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["tile_powers_cpu"]


def tile_powers_cpu(
    image: NDArray[np.float32],
    starts_y: Sequence[int],
    starts_x: Sequence[int],
    window: NDArray[np.float32],
    bins: NDArray[np.int32],
    n_bins: int,
) -> NDArray[np.float32]:
    """See `cryoloom.kernels.images.tile_powers.tile_powers`; the same on NumPy arrays."""
    edge = len(window)
    power = np.zeros((len(starts_y) * len(starts_x), n_bins))
    columns = _used_columns(bins.reshape(edge, -1))
    bins = bins.reshape(edge, -1)[:, :columns].ravel()
    for row, (y, x) in zip(power, itertools.product(starts_y, starts_x), strict=True):
        tile = image[y : y + edge, x : x + edge]
        tile = tile - tile.mean()
        tile *= window
        # Columns finer than any bin are not transformed along y: the others come out the same.
        rows = np.ascontiguousarray(scipy.fft.rfft(tile, axis=1)[:, :columns])
        _add_power(scipy.fft.fft(rows, axis=0, overwrite_x=True).ravel(), bins, row)
    return power.astype(np.float32)


def _used_columns(bins: NDArray[np.int32]) -> int:
    """Number of the first columns of a spectrum's bins ``(y, x)`` up to the last that has any."""
    used = np.flatnonzero((bins >= 0).any(axis=0))
    return int(used[-1]) + 1 if len(used) else 1


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _add_power(spectrum: NDArray[np.complex64], bins: NDArray[np.int32], power: NDArray[np.float64]) -> None:
    """Add the squared magnitudes of a spectrum ``(n,)`` to the bins they belong to."""
    for i in range(len(spectrum)):
        at = bins[i]
        if at >= 0:
            value = spectrum[i]
            power[at] += np.float64(value.real) * value.real + np.float64(value.imag) * value.imag
