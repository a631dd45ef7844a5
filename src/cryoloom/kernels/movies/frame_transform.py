"""Fourier transforms of a movie's frames and back to their sums: vector code on the CPU, torch elsewhere.

A frame is transformed along x in pieces of 32 rows, while their counts are still in the cache, and then along
y, of which low frequencies are kept. The intermediate lines ``(block, y, 32)`` hold the real parts of 16
columns, then their imaginary parts. The inverse does the same in the opposite order, without a division by
the number of pixels.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.kernels.movies.frame_transform_cpu import (
    lines_back_numba,
    rows_back_numba,
    transform_lines_numba,
    transform_rows_numba,
)
from cryoloom.kernels.movies.frame_transform_torch import (
    lines_back_torch,
    rows_back_torch,
    transform_lines_torch,
    transform_rows_torch,
)
from cryoloom.kernels.tensors import on_cpu
from cryoloom.kernels.vector.column_transform import ColumnTransform, plan_transform
from cryoloom.kernels.vector.ir import ROWS
from cryoloom.kernels.vector.support import vector_code_fits

__all__ = ["ROWS", "lines_back", "lines_shape", "rows_back", "transform_lines", "transform_rows"]


def lines_shape(n_y: int, n_columns: int) -> tuple[int, int, int]:
    """Shape ``(block, y, 32)`` of the lines of so many columns of a spectrum."""
    return -(-n_columns // (ROWS // 2)), n_y, ROWS


def transform_rows(
    rows: torch.Tensor,
    row: int,
    column: int,
    n_x: int,
    n_columns: int,
    lines: torch.Tensor,
    work: torch.Tensor,
) -> None:
    """Transform 32 rows along x into ``lines``, from row ``row`` of these on.

    rows : (32, x) float32, contiguous; those beyond a frame's last are 0. column : where they begin in a row
    of ``n_x`` samples, 0 elsewhere. n_columns : lowest frequencies kept, at most ``n_x // 2 + 1``. lines :
    see `lines_shape`; rows that no frame reaches must be 0. work : (n_x, 32) float32, overwritten.
    """
    n, n_y = rows.shape[1], lines.shape[1]
    if len(rows) != ROWS or lines.shape != lines_shape(n_y, n_columns) or work.shape != (n_x, ROWS):
        raise ValueError(
            f"expected {ROWS} rows, lines {lines_shape(n_y, n_columns)} and work {(n_x, ROWS)}, got "
            f"{len(rows)}, {tuple(lines.shape)} and {tuple(work.shape)}"
        )
    if column < 0 or column + n > n_x or n_columns > n_x // 2 + 1:
        raise ValueError(f"{n} samples from {column} on and {n_columns} frequencies do not fit rows of {n_x}")
    transform = _plan(n_x) if on_cpu(rows, lines, work) and vector_code_fits(rows) else None
    if transform is None:
        transform_rows_torch(rows, row, column, n_x, n_columns, lines)
        return
    transform_rows_numba(
        rows.numpy(), row, column, transform, _places(n_x), n_columns, work.numpy(),
        _tile(), lines.numpy(),
    )  # fmt: skip


def transform_lines(lines: torch.Tensor, into: torch.Tensor) -> None:
    """Transform lines along y, which overwrites them, and keep low frequencies.

    into : (kept y, columns) complex64, contiguous, both signs along y as in an FFT of that many.
    """
    n_y = lines.shape[1]
    if lines.shape != lines_shape(n_y, into.shape[1]) or into.shape[0] > n_y or into.dtype != torch.complex64:
        raise ValueError(f"lines {tuple(lines.shape)} do not fit {into.dtype} {tuple(into.shape)}")
    transform = _plan(n_y) if on_cpu(lines, into) and vector_code_fits(lines) else None
    if transform is None:
        transform_lines_torch(lines, into)
        return
    transform_lines_numba(lines.numpy(), transform, torch.view_as_real(into).numpy())


def lines_back(spectrum: torch.Tensor, first_block: int, lines: torch.Tensor) -> None:
    """Transform the columns of a spectrum back along y: some blocks of lines, n times as large.

    spectrum : (y, columns) complex64, contiguous. lines : (block, y, 32) float32, those from ``first_block``
    on, overwritten.
    """
    (n_y, n_columns), n_all = spectrum.shape, lines_shape(1, spectrum.shape[1])[0]
    if lines.shape[1:] != (n_y, ROWS) or first_block + len(lines) > n_all:
        raise ValueError(
            f"lines {tuple(lines.shape)} from block {first_block} on do not fit {n_y, n_columns}"
        )
    transform = _plan(n_y) if on_cpu(spectrum, lines) and vector_code_fits(lines) else None
    if transform is None:
        lines_back_torch(spectrum, first_block, lines)
        return
    lines_back_numba(torch.view_as_real(spectrum).numpy(), first_block, transform, lines.numpy())


def rows_back(
    lines: torch.Tensor, row: int, column: int, n_x: int, rows: torch.Tensor, work: torch.Tensor
) -> None:
    """Transform 32 rows of lines back along x: real rows ``(32, x)`` from ``column`` on, n times as large.

    lines : of all ``n_x // 2 + 1`` columns. Rows beyond the last are left undefined. work : (n_x, 32).
    """
    n_y = lines.shape[1]
    if len(rows) != ROWS or lines.shape != lines_shape(n_y, n_x // 2 + 1) or work.shape != (n_x, ROWS):
        raise ValueError(
            f"expected {ROWS} rows, lines {lines_shape(n_y, n_x // 2 + 1)} and work {(n_x, ROWS)}, got "
            f"{len(rows)}, {tuple(lines.shape)} and {tuple(work.shape)}"
        )
    if column < 0 or column + rows.shape[1] > n_x or not 0 <= row < n_y:
        raise ValueError(f"{rows.shape[1]} samples from {column} on, at row {row}, do not fit {n_y, n_x}")
    transform = _plan(n_x) if on_cpu(lines, rows, work) and vector_code_fits(rows) else None
    if transform is None:
        rows_back_torch(lines, row, column, n_x, rows)
        return
    rows_back_numba(lines.numpy(), row, column, transform, _places(n_x), work.numpy(), _tile(), rows.numpy())


def _tile() -> NDArray[np.float32]:
    """Memory for 16 frequencies of 32 rows."""
    return np.empty((4, ROWS // 2, ROWS // 2), np.float32)


@functools.lru_cache(maxsize=32)
def _plan(n: int) -> ColumnTransform | None:
    """The vector code's transform of this length; None if it has none."""
    try:
        return plan_transform(n)
    except ValueError:
        return None


@functools.lru_cache(maxsize=32)
def _places(n: int) -> NDArray[np.int64]:
    """Place of each frequency after the transform."""
    order = plan_transform(n).order
    places = np.empty_like(order)
    places[order] = np.arange(n)
    return places
