"""Write aligned images with IMOD's newstack: rotated so that the tilt axis is vertical, shifted, binned.

newstack turns about the middle of an image, between its two middle pixels where a side is even; ours is index
``n // 2``, as in apply_alignment. So the transforms are moved by the half pixel between both centres of the
aligned images, and nothing is resampled twice.
"""

from __future__ import annotations

import numpy as np

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, option
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.placement import poses_by_section
from cryoloom.formats.imod.transforms import half_pixel_xy, write_xf, xf_from_poses
from cryoloom.geometry.frames import binned_shape
from cryoloom.geometry.tilt_axis import axis_lies_along_x
from cryoloom.model import Pose, Stack, TiltSeries
from cryoloom.procedures.upright_series import upright_series
from cryoloom.procedures.written_stack import stacks_by_prefix, with_stacks
from cryoloom.programs.handover import ProgramParams, keep_stack, make_calls, place_float32, workplace_of
from cryoloom.programs.imod.imod_programs import NEWSTACK
from cryoloom.programs.included_tilts import pixels_of_image

__all__ = ["ImodApplyAlignmentParams", "calls", "imod_apply_alignment"]


class ImodApplyAlignmentParams(ProgramParams):
    """Options of newstack."""

    binning: int = option("-BinByFactor", 1, ge=1, le=64, kind="computed", description="Pixels per pixel.")
    antialias: int = option(
        "-AntialiasFilter", -1, ge=-1, le=6, kind="computed",
        description="binning: filter of the reduction; -1: IMOD's best, 0: plain means of pixels.",
    )  # fmt: skip
    linear: bool = option(
        "-LinearInterpolation", False, kind="flag", description="Linear interpolation; else cubic."
    )


def calls(series: TiltSeries, params: ImodApplyAlignmentParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for each set of images and each of its halves."""
    antialias = ["-AntialiasFilter", str(params.antialias)] if params.antialias and params.binning > 1 else []
    linear = ["-LinearInterpolation"] if params.linear else []
    made = []
    for prefix, stack in stacks_by_prefix(series).items():
        n_y, n_x = _aligned_yx(series, stack, params)
        for name in stack.present:
            made.append(
                Call(
                    program=NEWSTACK,
                    arguments=(
                        "-InputFile", f"{prefix}{name}.mrc", "-OutputFile", f"{prefix}{name}_ali.mrc",
                        "-TransformFile", f"{prefix}stack.xf", "-SizeToOutputInXandY", f"{n_x},{n_y}",
                        "-OffsetsInXandY", "0,0", "-TaperAtFill", "1,1", "-ModeToOutput", "2",
                        "-BinByFactor", str(params.binning), *antialias, *linear,
                    ),
                    writes=(f"{prefix}{name}_ali.mrc",),
                )
            )  # fmt: skip
    return tuple(made)


def _aligned_yx(series: TiltSeries, stack: Stack, params: ImodApplyAlignmentParams) -> tuple[int, int]:
    """Shape of the aligned images; sides are exchanged if the axis is nearer to x."""
    axes = [tilt.pose.axis_deg for tilt in series.tilts if tilt.pose is not None]
    across = bool(axes) and axis_lies_along_x(float(np.median(axes)))
    n_y, n_x = binned_shape(stack.shape_yx[::-1] if across else stack.shape_yx, params.binning)
    return n_y, n_x


@step(
    "imod_apply_alignment",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 28) + 24 * pixels_of_image(series.best_stack),
    ignores_exclusions=True,
    methods="Images were resampled with the alignment applied by newstack of IMOD.",
    figures=(
        Figure(
            "pixel_size_angstrom", "angstrom", "Pixel size", "Pixel size of the images that were written."
        ),
    ),
    programs=(NEWSTACK,),
    calls=calls,
    beside="apply_alignment",
)
def imod_apply_alignment(
    series: TiltSeries, params: ImodApplyAlignmentParams, context: StepContext
) -> TiltSeries:
    """Write the aligned images of a series with newstack, and their halves."""
    tilts, poses = poses_by_section(series)
    if poses is None:
        raise DataUnfitError(f"{series.name} has no poses; align the series first")
    if any(tilt.pose is not None and tilt.pose.warp is not None for tilt in tilts):
        context.warn("the local displacements of the images are not given to IMOD and are left out")
    folder, stacks = context.scratch(), stacks_by_prefix(series)
    for prefix, stack in stacks.items():
        write_xf(folder / f"{prefix}stack.xf", _transforms(series, stack, poses, params))
        for name, pixels in stack.present.items():
            place_float32(pixels, folder / f"{prefix}{name}.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    made = {}
    for prefix, stack in stacks.items():
        shape = (stack.images.shape[0], *_aligned_yx(series, stack, params))
        pixel = stack.pixel_size_angstrom * params.binning
        kept = {
            name: keep_stack(context, f"{prefix}{name}", folder / f"{prefix}{name}_ali.mrc", shape, pixel)
            for name in stack.present
        }
        made[prefix] = Stack(kept["images"], pixel, kept.get("even"), kept.get("odd"), stack.ctf_correction)
    context.figure("pixel_size_angstrom", next(iter(made.values())).pixel_size_angstrom)
    return with_stacks(upright_series(series, "imod_apply_alignment"), made)


def _transforms(
    series: TiltSeries, stack: Stack, poses: list[Pose], params: ImodApplyAlignmentParams
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """IMOD's transforms, moved so that the origin comes to index ``n // 2`` of the aligned images."""
    transforms = xf_from_poses(poses, stack.pixel_size_angstrom, stack.shape_yx)
    moved = half_pixel_xy(_aligned_yx(series, stack, params)) * params.binning
    transforms[:, :, 2] += moved
    return transforms
