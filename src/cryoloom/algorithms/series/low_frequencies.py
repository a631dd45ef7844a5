"""Low frequencies of a stack's images, the source of working images and coarse tomograms.

Rows are read, transformed and cropped while they are in the cache; only the columns that are kept are
transformed along y. Weights by frequency (`DoseWeighted`) are applied to what is kept: the weighted image
itself is never made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import centred_rfft, require_crop
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.series.derived_pixels import radial_weights
from cryoloom.kernels.images.radial_weights import weight_radially
from cryoloom.kernels.rows.low_frequencies import low_frequencies_of_columns, low_frequencies_of_rows
from cryoloom.kernels.tensors import tensor_over
from cryoloom.model import Pixels

__all__ = ["LowFrequencies", "Window", "low_frequencies", "low_frequency_bytes"]

_ROWS = _COLUMNS = 32
"""Chosen: rows and columns transformed at a time: they stay in the cache."""
_HIGHEST = 0.5**0.5
"""Cycles per pixel at the end of a table of weights."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of every image that is used."""

    rows: range
    columns: range

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Its sides."""
        return len(self.rows), len(self.columns)

    @classmethod
    def of(cls, pixels: Pixels) -> Window:
        """Whole images of a stack ``(tilt, y, x)``."""
        return cls(range(pixels.shape[1]), range(pixels.shape[2]))


@dataclass(frozen=True, slots=True)
class LowFrequencies:
    """Spectrum of an image resampled to a smaller even shape, and statistics of the image itself."""

    spectrum: torch.Tensor
    """``(y, x // 2 + 1)``, as `crop_rfft` gives it: the values of the image are preserved."""
    mean: float
    """Mean of the image, weighted or not: NaN or infinite if a pixel is."""
    deviation_at_most: float
    """Standard deviation of the image; where it is weighted, of the unweighted one, which is larger."""


def low_frequencies(
    pixels: Pixels,
    section: int,
    shape_yx: tuple[int, int],
    scratch: ScratchBuffers,
    *,
    window: Window | None = None,
    skip_missing: bool = False,
    device: str = "cpu",
) -> LowFrequencies:
    """Spectrum of one image ``(y, x)``, or of a window of it, cropped to ``shape_yx``, even and not larger.

    skip_missing : pixels that are no numbers count as 0; otherwise the spectrum is not finite either.
    On the CPU the calling thread works alone.
    """
    source, weights = radial_weights(pixels, section)
    window = window or Window.of(pixels)
    require_crop(window.shape_yx, shape_yx)
    n_y, n_x = window.shape_yx
    columns = shape_yx[1] // 2 + 1
    pairs = scratch.tensor("rows", (n_y, columns, 2), torch.device(device))
    spectrum = torch.view_as_complex(pairs)
    total = squares = 0.0
    for top in range(0, n_y, _ROWS):
        block = _read(source, section, window, top, min(n_y, top + _ROWS), skip_missing=skip_missing)
        total += float(block.sum(dtype=np.float64))
        squares += float(np.vdot(block, block))
        low_frequencies_of_rows(tensor_over(block).to(device), spectrum[top : top + len(block)])
    half = shape_yx[0] // 2
    kept = torch.empty((shape_yx[0], columns), dtype=torch.complex64, device=device)
    frequency_y = torch.fft.fftfreq(n_y, dtype=torch.float64, device=device).float()
    frequency_y = torch.cat([frequency_y[:half], frequency_y[n_y - half :]])
    frequency_x = torch.fft.rfftfreq(n_x, dtype=torch.float64, device=device).float()
    table = None if weights is None else tensor_over(weights).to(device)
    for left in range(0, columns, _COLUMNS):
        inside = slice(left, min(columns, left + _COLUMNS))
        part = low_frequencies_of_columns(spectrum[:, inside], shape_yx[0])
        if table is not None:
            weight_radially(part, frequency_y, frequency_x[inside], table, _HIGHEST)
        kept[:, inside] = part
    mean = total / (n_y * n_x)
    variance = max(squares / (n_y * n_x) - mean**2, 0.0)
    return LowFrequencies(centred_rfft(kept, (n_y, n_x), shape_yx), mean, variance**0.5)


def low_frequency_bytes(shape_yx: tuple[int, int], new_shape_yx: tuple[int, int]) -> int:
    """Memory that it takes for one image on one thread."""
    columns = new_shape_yx[1] // 2 + 1
    return 8 * columns * (shape_yx[0] + 2 * new_shape_yx[0] + 3 * _ROWS)


def _read(
    source: Pixels, section: int, window: Window, top: int, bottom: int, *, skip_missing: bool
) -> NDArray[np.float32]:
    """Some rows of the window."""
    rows, columns = window.rows[top:bottom], window.columns
    block = np.ascontiguousarray(
        source[section, rows.start : rows.stop, columns.start : columns.stop], np.float32
    )
    if skip_missing and not np.isfinite(block.sum(dtype=np.float64)):
        block = np.where(np.isfinite(block), block, np.float32(0))
    return block
