"""Weighted back-projection of aligned images into a tomogram, strip by strip.

Radermacher, Electron Tomography (2006), ch. 8, for a single tilt axis. The contrast of the images is the sum
of the voxels along the beam: the tomogram of projections of an object has the object's values, as far as the
tilt range allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.half_sample import REACH, half_sample_taps
from cryoloom.algorithms.images.radial_filter import RadialFilter
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.images.single_thread_pool import single_thread_pool
from cryoloom.geometry.tilt_axis import column_slopes, row_slopes
from cryoloom.kernels.projection.backproject import STRIP_ROWS, back_project, back_project_oblique
from cryoloom.kernels.rows.extend_rows import extend_rows
from cryoloom.kernels.rows.filter_rows import filter_rows
from cryoloom.kernels.rows.transpose_rows import transpose_rows

__all__ = ["WeightedBackProjection", "filtering_threads", "plan_back_projection"]

COLUMN_OVERSAMPLING = 2
"""Chosen: columns per aligned pixel in back-projection; linear interpolation then has little error."""
_TILTS_AT_ONCE = 8
"""Chosen: tilts filtered at a time, on as many threads."""
_INTERPOLATION_ERROR = 0.005
"""Chosen: largest error of columns between pixels, a seventh of that of linear interpolation between them."""


@dataclass(frozen=True, slots=True)
class WeightedBackProjection:
    """Common data of all strips of a tomogram. Make it with `plan_back_projection`."""

    volume_shape: tuple[int, int, int]
    """(z, y, x)."""
    n_columns: int
    """Columns of the aligned images."""
    n_padded: int
    """Their length while being filtered."""
    filters: torch.Tensor
    """(tilt, frequency) float32: ramp, cut-off, increment of each tilt and the interpolation's inverse."""
    taps: NDArray[np.float32] | None
    """Filter that interpolates columns between pixels; None: exactly, by longer transforms."""
    columns: torch.Tensor
    """(tilt, 3) float32, for `back_project`."""
    rows: torch.Tensor
    """(tilt, 2) float32, for `back_project_oblique`; all 0 without an x-tilt."""
    halo_rows: int
    """Rows needed above and below those of a strip."""

    @property
    def held_row_bytes(self) -> int:
        """Memory kept for rows outside a strip: none."""
        return 0

    @property
    def strip_bytes(self) -> int:
        """Peak while a strip is made: rows, padded, transformed, oversampled, transposed; its voxels."""
        n_z, _, n_x = self.volume_shape
        # Rows are padded to twice their length: 2 + 2 + 4 for a few tilts, or 2 a thread; 1 + 2 for all.
        rows = 3 * len(self.columns) + 8 * _TILTS_AT_ONCE
        return 4 * STRIP_ROWS * (self.n_columns * rows + n_z * n_x)

    def strips(self, aligned: torch.Tensor, first_row: int) -> Iterator[torch.Tensor]:
        """Strips ``(z, up to 32, x)`` from rows ``(tilt, n_rows + 2 halo, column)``, NaN outside images.

        A strip is valid until the next one is requested, which uses the same memory.
        """
        n_rows = aligned.shape[1] - 2 * self.halo_rows
        memory = ScratchBuffers()
        with filtering_threads() as pool:
            for start in range(0, n_rows, STRIP_ROWS):
                height = min(STRIP_ROWS, n_rows - start)
                yield self._strip(aligned, start, height, memory, pool)

    def strip(self, aligned: torch.Tensor, n_rows: int) -> torch.Tensor:
        """Strip ``(z, n_rows, x)`` from rows ``(tilt, n_rows + 2 halo, column)``, NaN outside images."""
        if aligned.shape[1] != n_rows + 2 * self.halo_rows or n_rows > STRIP_ROWS:
            raise ValueError(
                f"expected {n_rows} rows and {self.halo_rows} on both sides, got {aligned.shape}"
            )
        with filtering_threads() as pool:
            return self._strip(aligned, 0, n_rows, ScratchBuffers(), pool)

    def _strip(
        self, aligned: torch.Tensor, first_row: int, n_rows: int, memory: ScratchBuffers, pool: Executor
    ) -> torch.Tensor:
        n_z, _, n_x = self.volume_shape
        volume = memory.tensor("volume", (n_z, n_rows, n_x), aligned.device)
        if self.taps is not None:
            images = self._filtered_turned(aligned, first_row, self.taps, memory)
        else:
            some = aligned[:, first_row : first_row + n_rows + 2 * self.halo_rows]
            images = self._filtered(some, memory, pool)
        self.fill(images, volume, 0)
        return volume

    def fill(self, images: torch.Tensor, volume: torch.Tensor, first_z: int) -> None:
        """Back-project filtered images ``(tilt, fine column, row)`` into a slab of a strip."""
        columns = self.columns.clone()
        columns[:, 0] += columns[:, 2] * first_z
        if self.halo_rows:
            rows = self.rows.clone()
            rows[:, 0] += rows[:, 1] * first_z
            back_project_oblique(images, columns, rows, volume)
        else:
            back_project(images, columns.to(images.device), volume)

    def filtered_rows(self, aligned: torch.Tensor, first_tilt: int, margin: int) -> torch.Tensor:
        """Filtered rows of some tilts, not oversampled, with ``margin`` columns more on both sides.

        aligned : (tilt, row, column), NaN outside images; of one tilt the result is (row, column).
        """
        padded = self._padded(aligned)
        filters = self.filters[first_tilt : first_tilt + len(aligned), None]
        rows = torch.fft.irfft(torch.fft.rfft(padded) * filters.to(aligned.device), n=self.n_padded)
        start = (self.n_padded - self.n_columns) // 2 - margin
        return rows[..., start : start + self.n_columns + 2 * margin].squeeze(0)

    def turn_finer(self, spectra: torch.Tensor, n: int, start: int, images: torch.Tensor) -> None:
        """Fill ``images (image, 2 n_columns + 2, row)`` from the spectra of rows, made finer and turned.

        spectra : (image, row, frequency) of rows of ``n``, scaled by 1 / n. start : the rows' column that
        becomes the first. The outermost columns become 0. On a CPU the calling thread works alone.
        """
        fine = torch.fft.irfft(spectra, n=COLUMN_OVERSAMPLING * n, norm="forward")
        transpose_rows(fine, COLUMN_OVERSAMPLING * start, images, serial=True)

    def sharpen_rows(self, images: torch.Tensor) -> None:
        """Correct the blur that interpolation between rows causes, in place, ``(..., row)``."""
        if self.halo_rows:
            # Linear interpolation between rows adds 1/6 px^2 of width; the second difference removes it.
            bend = images[..., 2:] - 2 * images[..., 1:-1] + images[..., :-2]
            images[..., 1:-1] -= bend / 12

    def _padded(self, aligned: torch.Tensor) -> torch.Tensor:
        padded = torch.empty((*aligned.shape[:2], self.n_padded), device=aligned.device)
        extend_rows(aligned, padded, serial=True)  # tilts are filtered in parallel
        return padded

    def _filtered_turned(
        self, aligned: torch.Tensor, first_row: int, taps: NDArray[np.float32], memory: ScratchBuffers
    ) -> torch.Tensor:
        """`_filtered` for the strip that begins at a row, with a short filter for values between columns."""
        n_tilts, device = len(aligned), aligned.device
        shape = (n_tilts, COLUMN_OVERSAMPLING * self.n_columns + 2, STRIP_ROWS)
        images = memory.tensor("images", shape, device)
        n_threads = min(n_tilts, numba.get_num_threads(), 4 * _TILTS_AT_ONCE)
        work = memory.tensor("work", (n_threads, self.n_padded, STRIP_ROWS), device)
        between = torch.from_numpy(taps).to(device)
        filter_rows(aligned.contiguous(), first_row, self.filters.to(device), between, work, images)
        return images

    def _filtered(self, aligned: torch.Tensor, memory: ScratchBuffers, pool: Executor) -> torch.Tensor:
        """Filtered rows for the kernels: ``(tilt, 2 n_columns + 2, row)``, outermost columns 0."""
        n_tilts, n_rows, _ = aligned.shape
        width = n_rows if self.halo_rows else STRIP_ROWS
        shape = (n_tilts, COLUMN_OVERSAMPLING * self.n_columns + 2, width)
        images = memory.tensor("images", shape, aligned.device)
        filters = self.filters.to(aligned.device)

        def filter_tilt(tilt: int) -> None:
            one = slice(tilt, tilt + 1)
            spectra = torch.fft.rfft(self._padded(aligned[one]), norm="forward")
            spectra *= filters[one, None]
            start = (self.n_padded - self.n_columns) // 2
            self.turn_finer(spectra, self.n_padded, start, images[one])

        for _ in pool.map(filter_tilt, range(n_tilts)):
            pass
        self.sharpen_rows(images)
        return images


def filtering_threads(at_most: int = _TILTS_AT_ONCE) -> AbstractContextManager[Executor]:
    """Number of numba's threads, which the engine sets for every task."""
    return single_thread_pool(min(numba.get_num_threads(), at_most))


def plan_back_projection(
    volume_shape: tuple[int, int, int],
    n_columns: int,
    tilt_deg: Sequence[float],
    x_tilt_deg: Sequence[float],
    radial_filter: RadialFilter,
) -> WeightedBackProjection:
    """Geometry and filter of a tomogram.

    n_columns : of the aligned images, whose centre ``n // 2`` is the axis, as the volume's. An aligned pixel
    is a voxel.
    """
    n_z, _, n_x = volume_shape
    per_height = row_slopes(x_tilt_deg)
    n_padded = good_fft_size(2 * n_columns)
    # Linear interpolation between fine columns loses sinc^2.
    interpolated = torch.sinc(torch.fft.rfftfreq(n_padded) / COLUMN_OVERSAMPLING) ** 2
    filters = radial_filter.of_tilts(tilt_deg, n_padded) / interpolated[None, :]
    rows = _drifts(per_height, per_height * -(n_z // 2))
    halo = math.ceil(float(np.abs(per_height).max()) * (n_z // 2 + 1)) + 2 if per_height.any() else 0
    rows[:, 0] += halo
    is_short = halo > 0 or n_padded - n_columns < 2 * REACH + 2
    amplitude = filters.double().mean(dim=0).abs().numpy()
    return WeightedBackProjection(
        volume_shape=volume_shape,
        n_columns=n_columns,
        n_padded=n_padded,
        filters=filters,
        taps=None if is_short else half_sample_taps(amplitude, _INTERPOLATION_ERROR),
        columns=torch.from_numpy(_column_geometry(tilt_deg, x_tilt_deg, n_columns, n_x, n_z)),
        rows=torch.from_numpy(rows),
        halo_rows=halo,
    )


def _column_geometry(
    tilt_deg: Sequence[float], x_tilt_deg: Sequence[float], n_columns: int, n_x: int, n_z: int
) -> NDArray[np.float32]:
    """``u = x cos(tilt) + z sin(tilt) / cos(x_tilt)`` about the centres, in fine columns after the 0 one."""
    per_x, per_z = column_slopes(tilt_deg, x_tilt_deg)
    at_origin = n_columns // 2 - per_x * (n_x // 2) - per_z * (n_z // 2)
    fine = COLUMN_OVERSAMPLING * np.stack([at_origin, per_x, per_z], axis=1)
    fine[:, 0] += 1
    return fine.astype(np.float32)


def _drifts(per_z: NDArray[np.float64], at_z_0: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.stack([at_z_0, per_z], axis=1).astype(np.float32)
