"""Reconstruct the tomogram by weighted back-projection, strip by strip in bounded memory.

Every image becomes contrast (its mean subtracted, then divided by it), is binned in Fourier space and
sampled by cubic B-splines in the frame of its tilt axis (shift, in-plane rotation, magnification and x-tilt
removed), filtered across the axis by a ramp with cut-off and the angle the tilt stands for, and smeared back
along its beam. A voxel holds the contrast of one voxel, of which the images are sums; protein stays dark.
Radermacher, Electron Tomography (2006), ch. 8; filter as IMOD's RADIAL.

Figures: `half_correlation` is the mean Fourier shell correlation of the even and odd tomogram's middle up to
half of Nyquist; `half_resolution_angstrom` is where it falls below 0.143. Both need halves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator

from cryoloom.algorithms.aligned_images import contrast, pose_affine, sample_aligned, spline_image
from cryoloom.algorithms.back_projection import WeightedBackProjection, plan_back_projection
from cryoloom.algorithms.half_correlation import shell_correlation, smoothed_crossing_per_px
from cryoloom.algorithms.radial_filter import RadialFilter
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.geometry.frames import binned_shape
from cryoloom.kernels.backproject import STRIP_ROWS
from cryoloom.model import Pixels, PixelSink, Pose, Tilt, TiltSeries, Tomogram
from cryoloom.steps.declaration import StepContext, StepParams, step

__all__ = ["ReconstructParams", "reconstruct"]


class ReconstructParams(StepParams):
    """What a user may choose."""

    binning: float | None = Field(
        None,
        ge=1,
        le=64,
        description="Stack pixels per voxel; need not be whole. Unset: whole, for voxels of about 10 A.",
    )
    voxel_size_angstrom: float | None = Field(
        None, gt=0, description="Voxel size wanted, instead of a binning; at least the stack's pixel size."
    )
    thickness_angstrom: float = Field(
        4000.0, gt=0, description="Extent of the tomogram along the beam at zero tilt. Ice is 1000 to 3000."
    )
    width_angstrom: float | None = Field(
        None, gt=0, description="Extent across the tilt axis (x). Unset: what the camera's field covers."
    )
    length_angstrom: float | None = Field(
        None, gt=0, description="Extent along the tilt axis (y). Unset: what the camera's field covers."
    )
    cutoff_per_px: float = Field(
        0.35, gt=0, le=0.5, description="Frequency from which the ramp falls off, in cycles per voxel."
    )
    falloff_per_px: float = Field(
        0.05, gt=0, le=0.5, description="Width of the Gaussian fall-off, in cycles per voxel."
    )
    sirt_like_iterations: int = Field(
        0, ge=0, le=1000, description="Damp the ramp to look like SIRT after so many iterations; 0: do not."
    )
    tilt_weighting: Literal["increments", "exact"] = Field(
        "increments",
        description="How uneven tilts are weighted: by the angle each stands for, or exactly for the "
        "tomogram's thickness (Harauz & van Heel), where the ramp ends at Crowther's resolution.",
    )
    halves: bool = Field(
        True,
        description="Also make even and odd tomograms where the stack has halves (to denoise, to measure).",
    )
    dtype: Literal["float32", "float16"] = Field(
        "float32", description="How voxels are stored; float16 halves the disk space."
    )
    multiscale: bool = Field(True, description="Write an OME-Zarr pyramid beside the MRC file.")

    @model_validator(mode="after")
    def _cutoff_is_seen(self) -> ReconstructParams:
        if self.cutoff_per_px + 3 * self.falloff_per_px < 0.05:
            raise ValueError(
                "the filter passes almost nothing; choose a larger cutoff_per_px (0.35 is usual)"
            )
        return self


# numba's code, FFT plans, threads' heaps and the correlation of the halves (benchmarks/reconstruct_memory.py)
_BESIDES_BYTES = 400_000_000
_USUAL_VOXEL_ANGSTROM = 10.0  # membranes and ribosomes are seen, files stay small


@dataclass(frozen=True, slots=True)
class _Plan:
    """Sizes of one reconstruction, made from a series and parameters alone."""

    tilts: tuple[Tilt, ...]
    image_shape_yx: tuple[int, int]
    pixel_size_angstrom: float
    voxel_size_angstrom: float
    volume_shape: tuple[int, int, int]
    n_columns: int

    @property
    def binning(self) -> float:
        """Image pixels per voxel."""
        return self.voxel_size_angstrom / self.pixel_size_angstrom

    @property
    def poses(self) -> tuple[Pose, ...]:
        """Of the tilts, none missing."""
        return tuple(tilt.pose for tilt in self.tilts if tilt.pose is not None)

    @property
    def image_bytes(self) -> int:
        """Peak while one image is being aligned: image, its transform, and the knots' transform and copy."""
        image = 4 * math.prod(self.image_shape_yx)
        knots = int(image * (2 / self.binning) ** 2)
        return 2 * image + max(image, 3 * knots)

    @property
    def row_bytes(self) -> int:
        """One row of all aligned images."""
        return 4 * len(self.tilts) * self.n_columns

    @property
    def strip_bytes(self) -> int:
        """Peak while a strip is made: rows padded, transformed, twice finer, turned; and its voxels."""
        n_z, _, n_x = self.volume_shape
        # Rows are padded to twice their length: 2 + 2 + 4 + 2 rows' worth, 8 of them at once.
        return STRIP_ROWS * (9 * self.row_bytes + 4 * n_z * n_x)


def bytes_needed(series: TiltSeries, params: ReconstructParams) -> int:
    """All aligned images, one image's work or one strip's; with less memory, rows are done in bands."""
    plan = _plan(series, params)
    aligned = plan.volume_shape[1] * plan.row_bytes
    return aligned + max(plan.image_bytes, plan.strip_bytes) + _BESIDES_BYTES


@step(
    "reconstruct",
    per="tilt_series",
    needs=TiltSeries,
    gives=Tomogram,
    bytes_needed=bytes_needed,
    gpu="optional",
    citations=(
        "Radermacher, M. (2006) Weighted back-projection methods. In: Electron Tomography, 2nd ed., 245-273.",
        "Harauz, G. & van Heel, M. (1986) Exact filters for general geometry. Optik 73, 146-156.",
    ),
)
def reconstruct(series: TiltSeries, params: ReconstructParams, context: StepContext) -> Tomogram:
    """Make a tomogram, and even and odd ones, from the aligned images of every tilt not excluded."""
    plan = _plan(series, params)
    stack = series.best_stack
    sources: dict[str, Pixels] = {"tomogram": stack.images}
    if params.halves and stack.even is not None and stack.odd is not None:
        sources |= {"tomogram_even": stack.even, "tomogram_odd": stack.odd}
    projection = plan_back_projection(
        plan.volume_shape,
        plan.n_columns,
        [pose.tilt_deg for pose in plan.poses],
        [pose.x_tilt_deg for pose in plan.poses],
        RadialFilter(
            params.cutoff_per_px,
            params.falloff_per_px,
            params.sirt_like_iterations,
            plan.volume_shape[0] if params.tilt_weighting == "exact" else None,
        ),
    )
    bands = _bands(plan, projection, context.memory_bytes)
    total = len(sources) * (len(bands) * len(plan.tilts) + plan.volume_shape[1])
    done = 0
    sinks: dict[str, PixelSink] = {}
    for role, images in sources.items():
        sink = context.new_pixels(
            role,
            plan.volume_shape,
            plan.voxel_size_angstrom,
            dtype=params.dtype,
            multiscale=params.multiscale,
        )
        for band in bands:
            for amount in _reconstruct_band(images, plan, projection, band, sink, context.device):
                done += amount
                context.progress(done, total)
        sinks[role] = sink
    context.figure("n_tilts", len(plan.tilts))
    even, odd = sinks.get("tomogram_even"), sinks.get("tomogram_odd")
    if even is not None and odd is not None:
        _compare_halves(even, odd, plan.voxel_size_angstrom, context)
    return Tomogram(series, sinks["tomogram"], plan.voxel_size_angstrom, even, odd)


def _plan(series: TiltSeries, params: ReconstructParams) -> _Plan:
    """Check that the series can be reconstructed, and settle the sizes."""
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
    stack = series.best_stack
    unplaced = [t.acquisition_index for t in tilts if t.section is None or t.section >= stack.images.shape[0]]
    if unplaced:
        raise DataUnfitError(
            f"{len(unplaced)} tilts have no image in the stack of {stack.images.shape[0]}; exclude them",
            series=series.name,
            acquisition_indices=unplaced[:10],
        )
    pixel = stack.pixel_size_angstrom
    binning = params.binning or max(1, round(_USUAL_VOXEL_ANGSTROM / pixel))
    voxel = params.voxel_size_angstrom or pixel * binning
    if voxel < pixel * 0.999:
        raise UserInputError(
            f"voxel_size_angstrom is {voxel:g}, finer than the images' {pixel:g}; choose at least {pixel:g}"
        )
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    field_y, field_x = (n * pixel for n in stack.shape_yx)
    # The tilt axis is the tomogram's y: where it lies across the image, the image's x is the tomogram's y.
    axis = math.radians(sorted(pose.axis_deg for pose in poses)[len(poses) // 2])
    across = abs(math.sin(axis)) > abs(math.cos(axis))
    length, width = (field_x, field_y) if across else (field_y, field_x)
    sizes = (params.thickness_angstrom, params.length_angstrom or length, params.width_angstrom or width)
    n_z, n_y, n_x = binned_shape(tuple(round(size / voxel) for size in sizes), 1)
    # What the images show across the axis, no further than any voxel looks, and one row's margin.
    seen = (abs(math.cos(axis)) * field_x + abs(math.sin(axis)) * field_y) / voxel
    n_columns = 2 * math.ceil(min(max(seen, n_x), n_x + n_z) / 2) + 2
    return _Plan(tilts, stack.shape_yx, pixel, voxel, (n_z, n_y, n_x), n_columns)


def _bands(plan: _Plan, projection: WeightedBackProjection, memory_bytes: int) -> list[range]:
    """Rows of the volume whose aligned images fit in memory together."""
    n_y = plan.volume_shape[1]
    free = memory_bytes - max(plan.image_bytes, plan.strip_bytes) - _BESIDES_BYTES
    rows = int(free // plan.row_bytes) - 2 * projection.halo_rows
    rows = max(STRIP_ROWS, rows // STRIP_ROWS * STRIP_ROWS)
    return [range(start, min(n_y, start + rows)) for start in range(0, n_y, rows)]


def _reconstruct_band(
    images: Pixels,
    plan: _Plan,
    projection: WeightedBackProjection,
    band: range,
    sink: PixelSink,
    device: str,
) -> Iterator[int]:
    """Align the images' rows of a band, back-project them strip by strip; yields progress."""
    halo = projection.halo_rows
    aligned = torch.empty((len(plan.tilts), len(band) + 2 * halo, plan.n_columns), dtype=torch.float32)
    for i, tilt in enumerate(plan.tilts):
        aligned[i] = _aligned_rows(images, plan, tilt, band.start - halo, aligned.shape[1], device)
        yield 1
    for start in range(0, len(band), STRIP_ROWS):
        n_rows = min(STRIP_ROWS, len(band) - start)
        rows = aligned[:, start : start + n_rows + 2 * halo].to(device)
        volume = projection.strip(rows, n_rows)
        first = band.start + start
        sink[:, first : first + n_rows, :] = volume.cpu().numpy()
        yield n_rows


def _aligned_rows(
    images: Pixels, plan: _Plan, tilt: Tilt, first_row: int, n_rows: int, device: str
) -> torch.Tensor:
    """Rows of one tilt's contrast in the aligned frame; NaN outside the image."""
    pose = tilt.pose
    if pose is None or tilt.section is None:
        raise ValueError("a tilt without pose or image got past the plan")
    image = contrast(torch.from_numpy(images[tilt.section]).to(device))
    if not bool(torch.isfinite(image.sum())):
        raise DataUnfitError(
            "an image has NaN or infinite pixels or no variation; exclude the tilt or make the stack again",
            acquisition_index=tilt.acquisition_index,
        )
    knots = spline_image(image, (plan.binning, plan.binning))
    shift_x, shift_y = pose.shift_xy_angstrom
    affine = pose_affine(
        plan.image_shape_yx,
        (knots.shape[0], knots.shape[1]),
        (plan.volume_shape[1], plan.n_columns),
        plan.binning,
        axis_deg=pose.axis_deg,
        tilt_deg=pose.tilt_deg,
        x_tilt_deg=pose.x_tilt_deg,
        shift_xy_px=(shift_x / plan.pixel_size_angstrom, shift_y / plan.pixel_size_angstrom),
        magnification=pose.magnification,
    )
    return sample_aligned(knots, affine, first_row, n_rows, plan.n_columns)


def _compare_halves(even: Pixels, odd: Pixels, voxel_size_angstrom: float, context: StepContext) -> None:
    """Fourier shell correlation of the middle of the halves, as figures and a curve."""
    middle = tuple(slice((n - min(n, 192)) // 2, (n - min(n, 192)) // 2 + min(n, 192)) for n in even.shape)
    boxes = [torch.from_numpy(half[middle].astype("float32")) for half in (even, odd)]
    frequency, correlation = shell_correlation(boxes[0], boxes[1])
    context.record(
        "half_correlation",
        {
            "frequency_per_angstrom": (frequency / voxel_size_angstrom).tolist(),
            "correlation": correlation.tolist(),
        },
    )
    context.figure("half_correlation", float(correlation[frequency < 0.25].mean()))
    crossing = smoothed_crossing_per_px(frequency, correlation, 0.143)
    if crossing > 0:
        context.figure("half_resolution_angstrom", voxel_size_angstrom / crossing)
