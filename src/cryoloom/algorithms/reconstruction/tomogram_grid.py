"""Sizes of a tomogram and of the aligned images it is made from, and the alignment of the images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.images.single_thread_pool import IMAGES_AT_ONCE
from cryoloom.algorithms.series.aligned_images import (
    aligned_band,
    contrast_spline,
    knot_shape,
    pose_affine,
    sample_aligned,
)
from cryoloom.algorithms.series.low_frequencies import low_frequency_bytes
from cryoloom.algorithms.series.prepared_arrays import Prepared, made_now
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.frames import binned_shape
from cryoloom.geometry.tilt_axis import axis_lies_along_x, field_across_and_along
from cryoloom.model import Pixels, Pose, Stack, Tilt, TiltSeries

__all__ = ["TomogramGrid", "aligned_rows", "binning_and_voxel", "tomogram_grid"]

_USUAL_VOXEL_ANGSTROM = 10.0  # chosen: membranes and ribosomes are visible, files stay small


@dataclass(frozen=True, slots=True)
class TomogramGrid:
    """Sizes of one reconstruction. Make it with `tomogram_grid`."""

    tilts: tuple[Tilt, ...]
    image_shape_yx: tuple[int, int]
    pixel_size_angstrom: float
    voxel_size_angstrom: float
    volume_shape: tuple[int, int, int]
    n_columns: int
    """Columns of the aligned images.

    Their rows are those of the volume, and their centre is the tilt axis.
    """

    @property
    def binning(self) -> float:
        """Image pixels per voxel."""
        return self.voxel_size_angstrom / self.pixel_size_angstrom

    @property
    def poses(self) -> tuple[Pose, ...]:
        """Poses of the tilts, none missing."""
        return tuple(tilt.pose for tilt in self.tilts if tilt.pose is not None)

    @property
    def image_bytes(self) -> int:
        """Peak while images are being aligned, several at a time, each on a thread (`each_image`)."""
        band = aligned_band(self.image_shape_yx, (self.binning, self.binning))
        n_knots = math.prod(knot_shape(self.image_shape_yx, (self.binning, self.binning)))
        # Its columns, the knots' transform with its filter, and the knots.
        one = low_frequency_bytes(self.image_shape_yx, band) + 16 * n_knots
        if any(pose.warp is not None for pose in self.poses):  # whole images and their transforms
            one = max(one, 20 * math.prod(self.image_shape_yx))
        return IMAGES_AT_ONCE * one

    @property
    def row_bytes(self) -> int:
        """One row of all aligned images."""
        return 4 * len(self.tilts) * self.n_columns


def tomogram_grid(
    series: TiltSeries,
    stack: Stack,
    *,
    binning: float | None,
    voxel_size_angstrom: float | None,
    thickness_angstrom: float,
    length_angstrom: float | None,
    width_angstrom: float | None,
) -> TomogramGrid:
    """Check that the series can be reconstructed, and determine the sizes."""
    tilts = _usable_tilts(series, stack)
    pixel = stack.pixel_size_angstrom
    _, voxel = binning_and_voxel(stack, binning, voxel_size_angstrom)
    if voxel < pixel * 0.999:
        raise UserInputError(
            f"voxel_size_angstrom is {voxel:g}, finer than the images' {pixel:g}; choose at least {pixel:g}"
        )
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    field_y, field_x = (n * pixel for n in stack.shape_yx)
    # The tilt axis is the tomogram's y: if it is along x in the image, the image's x is the tomogram's y.
    axis_deg = sorted(pose.axis_deg for pose in poses)[len(poses) // 2]
    length, width = (field_x, field_y) if axis_lies_along_x(axis_deg) else (field_y, field_x)
    sizes = (thickness_angstrom, length_angstrom or length, width_angstrom or width)
    n_z, n_y, n_x = binned_shape(tuple(round(size / voxel) for size in sizes), 1)
    # The field of the images across the axis, limited to the part that the voxels need, and one row's margin.
    seen = field_across_and_along(axis_deg, field_x, field_y)[0] / voxel
    n_columns = 2 * math.ceil(min(max(seen, n_x), n_x + n_z) / 2) + 2
    return TomogramGrid(tilts, stack.shape_yx, pixel, voxel, (n_z, n_y, n_x), n_columns)


def binning_and_voxel(
    stack: Stack, binning: float | None, voxel_size_angstrom: float | None
) -> tuple[float, float]:
    """Image pixels per voxel and the voxel size: as requested, or of the usual size."""
    pixel = stack.pixel_size_angstrom
    voxel = voxel_size_angstrom or pixel * (binning or max(1, round(_USUAL_VOXEL_ANGSTROM / pixel)))
    return voxel / pixel, voxel


def _usable_tilts(series: TiltSeries, stack: Stack) -> tuple[Tilt, ...]:
    """Tilts not excluded; each has a pose and an image."""
    tilts = series.included
    without = [tilt.acquisition_index for tilt in tilts if tilt.pose is None]
    if without:
        raise DataUnfitError(
            f"{len(without)} of {len(tilts)} tilts have no pose; run align_series first, or exclude them",
            series=series.name,
            acquisition_indices=without[:10],
        )
    if len({tilt.pose.tilt_deg for tilt in tilts if tilt.pose is not None}) < 2:
        raise DataUnfitError(
            f"a tomogram needs at least 2 different tilts, got {len(tilts)}; include more tilts",
            series=series.name,
        )
    unplaced = [t.acquisition_index for t in tilts if t.section is None or t.section >= stack.images.shape[0]]
    if unplaced:
        raise DataUnfitError(
            f"{len(unplaced)} tilts have no image in the stack of {stack.images.shape[0]}; exclude them",
            series=series.name,
            acquisition_indices=unplaced[:10],
        )
    return tilts


def aligned_rows(
    images: Pixels,
    grid: TomogramGrid,
    tilt: Tilt,
    first_row: int,
    n_rows: int,
    device: str,
    scratch: ScratchBuffers | None = None,
    prepared: Prepared = made_now,
) -> torch.Tensor:
    """Rows of one tilt's contrast in the aligned frame, ``(n_rows, n_columns)``; NaN outside the image.

    On a CPU it works on the calling thread alone, unless the image has a local displacement. prepared : as
    `contrast_spline` takes it.
    """
    pose = tilt.pose
    if pose is None or tilt.section is None:
        raise ValueError("a tilt without a pose or image is in the grid")
    knots = contrast_spline(
        images,
        tilt.section,
        pose.warp,
        grid.pixel_size_angstrom,
        grid.binning,
        scratch or ScratchBuffers(),
        device,
        prepared,
    )
    if not bool(torch.isfinite(knots[0, 0])):  # one pixel that is not finite spoils every knot
        raise DataUnfitError(
            "an image has NaN or infinite pixels or no variation; exclude the tilt or make the stack again",
            acquisition_index=tilt.acquisition_index,
        )
    shift_x, shift_y = pose.shift_xy_angstrom
    affine = pose_affine(
        grid.image_shape_yx,
        (knots.shape[0], knots.shape[1]),
        (grid.volume_shape[1], grid.n_columns),
        grid.binning,
        axis_deg=pose.axis_deg,
        tilt_deg=pose.tilt_deg,
        x_tilt_deg=pose.x_tilt_deg,
        shift_xy_px=(shift_x / grid.pixel_size_angstrom, shift_y / grid.pixel_size_angstrom),
        magnification=pose.magnification,
    )
    return sample_aligned(knots, affine, first_row, n_rows, grid.n_columns, serial=True)
