"""Fourier transforms of frames with torch: of any length, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

__all__ = ["lines_back_torch", "rows_back_torch", "transform_lines_torch", "transform_rows_torch"]


def transform_rows_torch(
    rows: torch.Tensor, row: int, column: int, n_x: int, n_columns: int, lines: torch.Tensor
) -> None:
    """See `cryoloom.kernels.movies.frame_transform.transform_rows`."""
    n_blocks, n_y, n_lanes = lines.shape
    n_rows = min(len(rows), n_y - row)
    padded = functional.pad(rows[:n_rows], (column, n_x - rows.shape[1] - column))
    spectra = torch.view_as_real(torch.fft.rfft(padded, dim=1)[:, :n_columns])
    spectra = functional.pad(spectra, (0, 0, 0, n_blocks * (n_lanes // 2) - n_columns))
    parts = spectra.reshape(n_rows, n_blocks, n_lanes // 2, 2).permute(1, 0, 3, 2)
    lines[:, row : row + n_rows] = parts.reshape(n_blocks, n_rows, n_lanes)


def transform_lines_torch(lines: torch.Tensor, into: torch.Tensor) -> None:
    """See `cryoloom.kernels.movies.frame_transform.transform_lines`."""
    lanes, (kept, n_columns), n_y = lines.shape[2] // 2, into.shape, lines.shape[1]
    half = kept // 2
    for block in range(len(lines)):
        columns = slice(block * lanes, min((block + 1) * lanes, n_columns))
        line = torch.complex(lines[block, :, :lanes], lines[block, :, lanes:])
        spectrum = torch.fft.fft(line[:, : columns.stop - columns.start], dim=0)
        into[:half, columns] = spectrum[:half]
        into[half:, columns] = spectrum[n_y - (kept - half) :]


def lines_back_torch(spectrum: torch.Tensor, first_block: int, lines: torch.Tensor) -> None:
    """See `cryoloom.kernels.movies.frame_transform.lines_back`."""
    lanes, n_columns = lines.shape[2] // 2, spectrum.shape[1]
    for block in range(len(lines)):
        first = (first_block + block) * lanes
        line = torch.fft.ifft(spectrum[:, first : first + lanes], dim=0, norm="forward")
        line = functional.pad(line, (0, max(0, first + lanes - n_columns)))
        lines[block, :, :lanes], lines[block, :, lanes:] = line.real, line.imag


def rows_back_torch(lines: torch.Tensor, row: int, column: int, n_x: int, rows: torch.Tensor) -> None:
    """See `cryoloom.kernels.movies.frame_transform.rows_back`."""
    lanes = lines.shape[2] // 2
    parts = lines[:, row : row + len(rows)].permute(1, 0, 2)
    spectra = torch.complex(parts[..., :lanes], parts[..., lanes:]).flatten(1)[:, : n_x // 2 + 1]
    images = torch.fft.irfft(spectra, n=n_x, dim=1, norm="forward")
    rows[: len(images)] = images[:, column : column + rows.shape[1]]
