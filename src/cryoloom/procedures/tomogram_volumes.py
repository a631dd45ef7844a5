"""Volumes that a reconstruction fills: in one order of axes or in two, in 16 or 32 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.reconstruction.reconstruction_bands import StripSink
from cryoloom.algorithms.reconstruction.tomogram_grid import TomogramGrid, aligned_rows
from cryoloom.algorithms.series.prepared_arrays import Prepared, made_now
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.model import Pixels, PixelSink

__all__ = ["TILTS_IN_TOMOGRAM", "VoxelType", "middle_rows", "new_volume", "stored_type"]

VoxelType = Literal["float32", "float16"]

TILTS_IN_TOMOGRAM = Figure(
    "n_tilts", "tilts", "Tilts in the tomogram", "Tilts that were not excluded and have a pose."
)

_FINEST_FLOAT16_DEVIATION = 2e-6
"""16-bit floats below 6e-5 lie 6e-8 apart: a ten-thousandth of the variance of 1.7e-6."""


@dataclass(frozen=True, slots=True)
class _InBothOrders:
    """Strips ``[z0:z1, y0:y1, :]`` written to a volume and, with z mirrored, as sections of y."""

    volume: PixelSink
    sections: PixelSink

    def __setitem__(self, index: tuple[slice, slice, slice], strip: NDArray[np.float32]) -> None:
        self.volume[index] = strip
        n_z = self.volume.shape[0]
        mirrored = slice(n_z - index[0].stop, n_z - index[0].start)
        self.sections[index[1], mirrored, :] = np.ascontiguousarray(strip[::-1].transpose(1, 0, 2))


def new_volume(
    role: str,
    grid: TomogramGrid,
    dtype: VoxelType,
    context: StepContext,
    *,
    multiscale: bool,
    also_xzy: bool,
) -> tuple[PixelSink, StripSink]:
    """A volume and where its strips go: with ``also_xzy`` into ``ROLE_xzy``, in IMOD's order, as well."""
    sink = context.new_pixels(
        role, grid.volume_shape, grid.voxel_size_angstrom, kind="volume", dtype=dtype, multiscale=multiscale
    )
    if not also_xzy:
        return sink, sink
    n_z, n_y, n_x = grid.volume_shape
    turned = context.new_pixels(
        f"{role}_xzy", (n_y, n_z, n_x), grid.voxel_size_angstrom, kind="volume", dtype=dtype
    )
    return sink, _InBothOrders(sink, turned)


def stored_type(
    images: Pixels, grid: TomogramGrid, wanted: VoxelType, device: str, prepared: Prepared = made_now
) -> VoxelType:
    """Type in which voxels are stored: as requested, unless 16 bits would add noise to them.

    Their deviation is at least that of an image over the voxels along a ray.
    """
    rows = middle_rows(images, grid, len(grid.tilts) // 2, device, prepared)
    deviation = float(rows[torch.isfinite(rows)].std()) / grid.volume_shape[0]
    return wanted if deviation > _FINEST_FLOAT16_DEVIATION else "float32"


def middle_rows(
    images: Pixels, grid: TomogramGrid, i_tilt: int, device: str, prepared: Prepared = made_now
) -> torch.Tensor:
    """A strip's rows ``(row, column)`` of one tilt through the middle of the volume, aligned."""
    first = max(0, (grid.volume_shape[1] - STRIP_ROWS) // 2)
    return aligned_rows(images, grid, grid.tilts[i_tilt], first, STRIP_ROWS, device, prepared=prepared)
