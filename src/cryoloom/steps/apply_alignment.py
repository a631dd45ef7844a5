"""Write aligned images: rotated so that the tilt axis is vertical, shifted, with one magnification.

Each image is sampled once, by cubic B-splines on a grid oversampled twice, after removal of the frequencies
that the new pixels cannot represent; binning happens in the same step. The tilt axis is the images' y axis
through their centre, as in IMOD's ``_ali`` stacks; for an axis near x, width and height are exchanged. Pixels
outside the old image are set to its mean. A local alignment is undone first.

Metadata are updated: poses keep tilt and x-tilt only, and the direction of astigmatism is rotated. The new
images no longer correspond to the movies' pixels, so movies and motion are dropped.

Figure: ``covered_percent``, the part of the aligned images covered by old ones, mean over the tilts.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.images.undistorted_images import undistorted
from cryoloom.algorithms.series.aligned_images import OVERSAMPLING, pose_affine, sample_aligned, spline_image
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.contract.figures import Figure
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import binned_shape
from cryoloom.geometry.tilt_axis import axis_lies_along_x
from cryoloom.model import Pixels, Pose, Stack, Tilt, TiltSeries
from cryoloom.procedures.upright_series import upright_series
from cryoloom.procedures.written_stack import WrittenStack, stacks_by_prefix, with_stacks

__all__ = ["ApplyAlignmentParams", "apply_alignment"]


class ApplyAlignmentParams(StepParams):
    """Parameters of aligned images."""

    binning: float = Field(
        1.0, ge=1, le=64, description="Image pixels per aligned pixel; fractions are allowed."
    )


def _bytes_needed(series: TiltSeries, params: ApplyAlignmentParams) -> int:
    """An image and its spectrum; the spline's spectrum and knots; the aligned image; the undistorted one."""
    n_y, n_x = series.best_stack.shape_yx
    knots = (OVERSAMPLING / params.binning) ** 2
    warped = any(tilt.pose is not None and tilt.pose.warp is not None for tilt in series.tilts)
    return (
        int(4 * n_y * n_x * (4 + 3 * knots + 2 * warped))
        + (200 << 20)
        + reading_bytes(series.best_stack.images)
    )


FIGURES = (
    Figure(
        "covered_percent",
        "percent",
        "Aligned images covered",
        "Part of the aligned images covered by old ones; the rest is filled with their mean.",
    ),
)


@step(
    "apply_alignment",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    ignores_exclusions=True,
    methods="Images were resampled with the alignment applied.",
    figures=FIGURES,
)
def apply_alignment(series: TiltSeries, params: ApplyAlignmentParams, context: StepContext) -> TiltSeries:
    """Write the aligned images of a series, dose-weighted and CTF-corrected ones too, and their halves."""
    tilts, poses = _poses(series)
    present = stacks_by_prefix(series)
    total = sum(len(stack.present) for stack in present.values()) * len(tilts)
    done, covered = 0, []
    made = {}
    for prefix, stack in present.items():
        shape = _aligned_shape(stack.shape_yx, poses, params.binning)
        pixel_size = stack.pixel_size_angstrom * params.binning
        written = WrittenStack(context, stack, (stack.images.shape[0], *shape), pixel_size, prefix)
        for role, pixels in stack.present.items():
            for tilt, pose in zip(tilts, poses, strict=True):
                aligned, part = _aligned(pixels, tilt, pose, stack, params.binning, shape, context.device)
                written.write(role, tilt.section or 0, aligned)
                covered.append(part)
                done += 1
                context.progress(done, total)
        made[prefix] = written.finished()
    context.figure("covered_percent", 100.0 * float(np.mean(covered)))
    return with_stacks(upright_series(series, "apply_alignment"), made)


def _poses(series: TiltSeries) -> tuple[list[Tilt], list[Pose]]:
    """Tilts with an image, and their poses; an excluded tilt without a pose gets that of its neighbours."""
    tilts = [tilt for tilt in series.tilts if tilt.section is not None]
    without = [t.acquisition_index for t in tilts if t.pose is None and not t.is_excluded]
    solved = [tilt.pose for tilt in tilts if tilt.pose is not None]
    n_sections = series.best_stack.images.shape[0]
    if without or not solved or len(tilts) != n_sections:
        raise DataUnfitError(
            f"{len(without)} tilts have no pose, and {n_sections - len(tilts)} sections have no tilt; run "
            "align_series first, or exclude them",
            series=series.name,
            acquisition_indices=without[:10],
        )
    axis = float(np.median([pose.axis_deg for pose in solved]))
    return tilts, [tilt.pose or Pose(axis, tilt.nominal_tilt_deg) for tilt in tilts]


def _aligned_shape(shape_yx: tuple[int, int], poses: list[Pose], binning: float) -> tuple[int, int]:
    """Shape of the aligned images; sides are exchanged if the axis is nearer to x."""
    across = axis_lies_along_x(float(np.median([pose.axis_deg for pose in poses])))
    n_y, n_x = binned_shape(shape_yx[::-1] if across else shape_yx, binning)
    return n_y, n_x


def _aligned(
    pixels: Pixels,
    tilt: Tilt,
    pose: Pose,
    stack: Stack,
    binning: float,
    shape_yx: tuple[int, int],
    device: str,
) -> tuple[NDArray[np.float32], float]:
    """One aligned image, and the part of it covered by the old one."""
    image = torch.from_numpy(np.ascontiguousarray(pixels[tilt.section or 0], dtype=np.float32)).to(device)
    if not bool(torch.isfinite(image.sum())):
        raise DataUnfitError(
            "an image has pixels that are not finite; import it again",
            acquisition_index=tilt.acquisition_index,
        )
    mean = float(image.mean())
    straight = undistorted(image - mean, pose.warp, stack.pixel_size_angstrom)
    knots = spline_image(straight, (binning, binning))
    shift_x, shift_y = pose.shift_xy_angstrom
    affine = pose_affine(
        stack.shape_yx,
        (knots.shape[0], knots.shape[1]),
        shape_yx,
        binning,
        axis_deg=pose.axis_deg,
        tilt_deg=0.0,
        x_tilt_deg=0.0,
        shift_xy_px=(shift_x / stack.pixel_size_angstrom, shift_y / stack.pixel_size_angstrom),
        magnification=pose.magnification,
    )
    sampled = sample_aligned(knots, affine, 0, shape_yx[0], shape_yx[1]).cpu().numpy()
    outside = np.isnan(sampled)
    sampled[outside] = 0.0
    return sampled + np.float32(mean), 1.0 - float(outside.mean())
