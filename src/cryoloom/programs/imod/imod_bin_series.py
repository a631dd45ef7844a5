"""Bin the images of a series with IMOD's newstack, dose-weighted and CTF-corrected ones and halves too.

newstack keeps the middle of an image, between its two middle pixels where a side is even; ours is index
``n // 2``. So a binned image's centre lies up to half a binned pixel away from the old one, by which the
poses' shifts change; nothing is resampled twice.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, option
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.imod.transforms import half_pixel_xy
from cryoloom.model import Stack, TiltSeries
from cryoloom.procedures.written_stack import stacks_by_prefix, with_stacks
from cryoloom.programs.handover import ProgramParams, keep_stack, make_calls, place_float32, workplace_of
from cryoloom.programs.imod.imod_programs import NEWSTACK
from cryoloom.programs.included_tilts import pixels_of_image

__all__ = ["ImodBinSeriesParams", "calls", "imod_bin_series"]


class ImodBinSeriesParams(ProgramParams):
    """Options of newstack."""

    binning: int = option("-BinByFactor", 4, ge=1, le=64, kind="computed", description="Pixels per pixel.")
    antialias: int = option(
        "-AntialiasFilter", -1, ge=-1, le=6, kind="computed",
        description="Filter of the reduction; -1: IMOD's best, 0: plain means of pixels.",
    )  # fmt: skip
    standardise: bool = option(
        "-MeanAndStandardDeviation", False, kind="computed",
        description="Scale every image to mean 0 and deviation 1, each half by itself.",
    )  # fmt: skip


def calls(series: TiltSeries, params: ImodBinSeriesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for each set of images and each of its halves."""
    scale = ["-FloatDensities", "2", "-MeanAndStandardDeviation", "0,1"] if params.standardise else []
    antialias = ["-AntialiasFilter", str(params.antialias)] if params.antialias and params.binning > 1 else []
    return tuple(
        Call(
            program=NEWSTACK,
            arguments=(
                "-InputFile", f"{prefix}{name}.mrc", "-OutputFile", f"{prefix}{name}_binned.mrc",
                "-SizeToOutputInXandY", ",".join(str(n) for n in _binned_yx(stack, params)[::-1]),
                "-OffsetsInXandY", "0,0", "-BinByFactor", str(params.binning), *antialias,
                "-ModeToOutput", "2", *scale,
            ),
            writes=(f"{prefix}{name}_binned.mrc",),
        )
        for prefix, stack in _stacks(series).items()
        for name in stack.present
    )  # fmt: skip


def _stacks(series: TiltSeries) -> dict[str, Stack]:
    """The sets of images there are, by the beginning of their files' names."""
    present = stacks_by_prefix(series)
    if not present:
        raise DataUnfitError(f"{series.name} has no images to bin; run align_frames or import its stack")
    return present


def _binned_yx(stack: Stack, params: ImodBinSeriesParams) -> tuple[int, int]:
    n_y, n_x = stack.shape_yx
    return n_y // params.binning, n_x // params.binning


def _require_pixels(stack: Stack, params: ImodBinSeriesParams) -> None:
    if min(_binned_yx(stack, params)) < 8:
        raise UserInputError(
            f"a binning of {params.binning} leaves less than 8 pixels of {min(stack.shape_yx)}; choose a "
            "smaller one"
        )


@step(
    "imod_bin_series",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 28) + 16 * pixels_of_image(series.best_stack),
    ignores_exclusions=True,
    methods="Images were binned with newstack of IMOD[ to pixels of {pixel_size_angstrom:.2f} Å].",
    figures=(
        Figure(
            "pixel_size_angstrom", "angstrom", "Pixel size", "Pixel size of the images that were written."
        ),
    ),
    programs=(NEWSTACK,),
    calls=calls,
    beside="bin_series",
)
def imod_bin_series(series: TiltSeries, params: ImodBinSeriesParams, context: StepContext) -> TiltSeries:
    """Bin the images of a series with newstack, and their halves."""
    folder, stacks = context.scratch(), _stacks(series)
    for prefix, stack in stacks.items():
        _require_pixels(stack, params)
        for name, pixels in stack.present.items():
            place_float32(pixels, folder / f"{prefix}{name}.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    made = {}
    for prefix, stack in stacks.items():
        shape = (stack.images.shape[0], *_binned_yx(stack, params))
        pixel = stack.pixel_size_angstrom * params.binning
        kept = {
            name: keep_stack(context, f"{prefix}{name}", folder / f"{prefix}{name}_binned.mrc", shape, pixel)
            for name in stack.present
        }
        made[prefix] = Stack(kept["images"], pixel, kept.get("even"), kept.get("odd"), stack.ctf_correction)
    context.figure("pixel_size_angstrom", next(iter(made.values())).pixel_size_angstrom)
    return _recentred(with_stacks(series, made), next(iter(stacks.values())), params)


def _recentred(series: TiltSeries, before: Stack, params: ImodBinSeriesParams) -> TiltSeries:
    """Series whose shifts count from the new centre of the images.

    Both centres lie half a pixel of their own images from the middle, which newstack keeps.
    """
    old = half_pixel_xy(before.shape_yx)
    new = params.binning * half_pixel_xy(_binned_yx(before, params))
    x, y = (float(moved) for moved in (old - new) * before.pixel_size_angstrom)
    changes = {}
    for tilt in series.tilts:
        if tilt.pose is not None:
            shift_x, shift_y = tilt.pose.shift_xy_angstrom
            pose = replace(tilt.pose, shift_xy_angstrom=(shift_x + x, shift_y + y))
            changes[tilt.acquisition_index] = {"pose": pose}
    return series.with_tilts(changes)
