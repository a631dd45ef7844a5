"""Rows of images continued beyond what was seen, on the CPU: one numba loop over rows."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.compile import parallel_and_serial

__all__ = ["extend_rows_numba", "extend_rows_numba_serial"]

Floats = NDArray[np.float32]


def _extend_rows(rows: Floats, padded: Floats) -> None:
    """See `cryoloom.kernels.rows.extend_rows.extend_rows`."""
    n_rows = rows.shape[1]
    fade = _fade(rows.shape[2], padded.shape[2])
    for i in prange(len(rows) * n_rows):
        _extend_row(rows[i // n_rows, i % n_rows], fade, padded[i // n_rows, i % n_rows])


extend_rows_numba, extend_rows_numba_serial = parallel_and_serial(_extend_rows, error_model="numpy")


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _fade(n_columns: int, n_padded: int) -> Floats:
    before = max(1, (n_padded - n_columns) // 2)
    return (0.5 + 0.5 * np.cos(np.pi * np.arange(before) / before)).astype(np.float32)


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _extend_row(row: Floats, fade: Floats, out: Floats) -> None:
    n_columns, n_padded = len(row), len(out)
    before = (n_padded - n_columns) // 2
    out[:] = 0
    first = 0
    while first < n_columns and np.isnan(row[first]):
        first += 1
    if first == n_columns:
        return
    last = n_columns - 1
    while np.isnan(row[last]):
        last -= 1
    out[before + first : before + last + 1] = row[first : last + 1]
    near = min(max(2, n_columns // 64), last - first + 1)
    left = row[first : first + near].mean()
    right = row[last + 1 - near : last + 1].mean()
    for distance in range(1, len(fade)):
        if before + first - distance >= 0:
            out[before + first - distance] = left * fade[distance]
        if before + last + distance < n_padded:
            out[before + last + distance] = right * fade[distance]
