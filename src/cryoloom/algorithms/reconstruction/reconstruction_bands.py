"""A tomogram made in bands in bounded memory: images aligned for some rows, rows projected in strips."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.images.single_thread_pool import IMAGES_AT_ONCE, each_image
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid, aligned_rows
from cryoloom.algorithms.series.prepared_arrays import Prepared, made_now
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.model import Pixels

__all__ = ["BESIDES_BYTES", "Part", "Reconstructor", "StripSink", "bands_of", "reconstruct_band"]

# numba's code, FFT plans, threads' heaps and the correlation of the halves (benchmarks/reconstruct_memory.py)
BESIDES_BYTES = 400_000_000


class StripSink(Protocol):
    """Target of strips: a file's pixels, or several at once. Sections may be written by several threads."""

    def __setitem__(self, index: tuple[slice, slice, slice], strip: NDArray[np.float32], /) -> None:
        """Take the sections and rows ``[z0:z1, y0:y1, :]`` of the volume."""


class Reconstructor(Protocol):
    """A reconstruction method, strip by strip: one of `cryoloom.algorithms`."""

    @property
    def halo_rows(self) -> int:
        """Rows needed above and below those of the volume."""

    @property
    def held_row_bytes(self) -> int:
        """Memory kept for each of the rows given at once."""

    @property
    def strip_bytes(self) -> int:
        """Peak while a strip is made."""

    def strips(self, aligned: torch.Tensor, first_row: int) -> Iterator[torch.Tensor]:
        """Strips ``(z, up to 32, x)`` from rows ``(tilt, n_rows + 2 halo, column)``, NaN outside images.

        A strip is valid until the next is requested.
        """


@dataclass(frozen=True, slots=True)
class Part:
    """One of the volumes to be made: its images, its tilts, and the method."""

    role: str
    images: Pixels
    grid: TomogramGrid
    reconstructor: Reconstructor
    prepared: Prepared = made_now
    """What was prepared of its images (`aligned_rows`)."""


def bands_of(grid: TomogramGrid, reconstructor: Reconstructor, memory_bytes: int) -> list[range]:
    """Rows of the volume whose aligned images fit in memory together."""
    n_y = grid.volume_shape[1]
    # At least as many rows are held at once as there are rows of halo, so that most work is not halo.
    held = max(STRIP_ROWS, 2 * reconstructor.halo_rows) * reconstructor.held_row_bytes
    free = memory_bytes - max(grid.image_bytes, reconstructor.strip_bytes + held) - BESIDES_BYTES
    rows = int(free // grid.row_bytes) - 2 * reconstructor.halo_rows
    rows = max(STRIP_ROWS, rows // STRIP_ROWS * STRIP_ROWS)
    return [range(start, min(n_y, start + rows)) for start in range(0, n_y, rows)]


def _rows_at_once(grid: TomogramGrid, reconstructor: Reconstructor, band: range, memory_bytes: int) -> int:
    """Rows of a band given to the reconstructor together: whole strips, as many as memory holds."""
    if reconstructor.held_row_bytes == 0:
        return len(band)
    aligned = (len(band) + 2 * reconstructor.halo_rows) * grid.row_bytes
    free = memory_bytes - aligned - reconstructor.strip_bytes - BESIDES_BYTES
    rows = int(free // reconstructor.held_row_bytes) // STRIP_ROWS * STRIP_ROWS
    return min(len(band), max(STRIP_ROWS, rows))


def reconstruct_band(
    part: Part, band: range, sink: StripSink, *, device: str, memory_bytes: int
) -> Iterator[int]:
    """Align the images' rows of a band, back-project them strip by strip; yields progress."""
    grid, reconstructor, halo = part.grid, part.reconstructor, part.reconstructor.halo_rows
    rows_at_once = _rows_at_once(grid, reconstructor, band, memory_bytes)
    aligned = torch.empty((len(grid.tilts), len(band) + 2 * halo, grid.n_columns), dtype=torch.float32)
    first, n_rows = band.start - halo, aligned.shape[1]
    scratch = ScratchBuffers()

    def align(i: int) -> None:
        aligned[i] = aligned_rows(
            part.images, grid, grid.tilts[i], first, n_rows, device, scratch, part.prepared
        )

    for _ in each_image(align, len(grid.tilts)):
        yield 1
    n_writers = min(numba.get_num_threads(), IMAGES_AT_ONCE)
    with ThreadPoolExecutor(n_writers) as writers:
        for start in range(0, len(band), rows_at_once):
            n_rows = min(rows_at_once, len(band) - start)
            rows = aligned[:, start : start + n_rows + 2 * halo].to(device)
            first = band.start + start
            for strip in reconstructor.strips(rows, first):
                _write(strip.cpu().numpy(), first, sink, writers, n_writers)
                first += strip.shape[1]
                yield strip.shape[1]


def _write(
    strip: NDArray[np.float32], first_row: int, sink: StripSink, writers: Executor, n_writers: int
) -> None:
    """Write a strip, its sections side by side: to judge and convert them takes longer than to store them."""
    rows = slice(first_row, first_row + strip.shape[1])
    bounds = np.linspace(0, len(strip), n_writers + 1).astype(int).tolist()

    def write(low: int, high: int) -> None:
        sink[low:high, rows, :] = strip[low:high]

    for _ in writers.map(write, bounds[:-1], bounds[1:]):
        pass
