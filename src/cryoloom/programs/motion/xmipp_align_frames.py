"""Correct the motion of every movie with FlexAlign of Xmipp, and sum its frames.

FlexAlign writes the mean of the aligned frames and, where halves are wanted, the frames themselves, from
which the sums are made here. Shifts are those of whole frames; local motion is corrected in the images but
not imported. Binned shifts are turned into pixels of the movie. Excluded tilts are corrected too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import Tilt, TiltSeries
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.motion.movie_folder import (
    GAIN_NAME,
    MOTION_FIGURES,
    MovedTilt,
    movie_name,
    movie_stem,
    place_movies,
    series_with_sums,
)

__all__ = ["FLEXALIGN", "XmippAlignFramesParams", "calls", "parse", "xmipp_align_frames"]

FLEXALIGN = Program(
    name="FlexAlign",
    suite="Xmipp",
    executables=("xmipp_cuda_movie_alignment_correlation",),
    purpose="motion between frames",
    versions=("3.24", "3.25"),
    version_arguments=None,
    needs_gpu=True,
    citation="Strelak, D. et al. (2020) FlexAlign: an accurate and fast algorithm for movie alignment in "
    "cryo-electron microscopy. Electronics 9, 1040, doi:10.3390/electronics9061040",
    homepage="https://github.com/I2PC/xmipp",
    errors=(r"^XMIPP_ERROR ",),
)


class XmippAlignFramesParams(ProgramParams):
    """Options of xmipp_cuda_movie_alignment_correlation."""

    binning: float = option("--bin", 1.0, ge=1, le=32, description="Binning, on reading; need not be whole.")
    max_shift_angstrom: float = option("--maxShift", 50.0, gt=0, description="Largest shift.")
    finest_angstrom: float = option(
        "--maxResForCorrelation", 30.0, gt=0, description="Resolution up to which frames are correlated."
    )
    local_motion: bool = option(
        "--skipLocalAlignment", False, kind="computed", description="Correct local motion in the images too."
    )
    patches_xy: tuple[int, int] = option(
        "--patches", (7, 7), kind="computed", description="local_motion: patches along x and y."
    )
    controls_xyt: tuple[int, int, int] = option(
        "--controlPoints", (6, 6, 5), kind="computed",
        description="local_motion: control points of the B-spline along x, y and time, at least 3.",
    )  # fmt: skip
    coarsest_patch_angstrom: int = option(
        "--minLocalRes", 500, gt=0, kind="computed", description="local_motion: least resolution of patches."
    )
    patch_frames: int = option(
        "--patchesAvg", 3, ge=1, kind="computed", description="local_motion: frames averaged for a patch."
    )
    frames: tuple[int, int] = option(
        "--frameRange", (-1, -1), kind="computed",
        description="First and last frame that is aligned and summed, from 0; -1: all.",
    )  # fmt: skip
    halves: bool = option(
        "--oaligned", True, kind="computed", description="Also sum even and odd frames, for denoising."
    )
    use_gain: bool = option(
        "--gain", True, kind="computed", description="Apply the series' gain reference, where it has one."
    )


def calls(series: TiltSeries, params: XmippAlignFramesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for each movie."""
    return tuple(_call(series, tilt, params, workplace) for tilt in series.tilts)


def _call(series: TiltSeries, tilt: Tilt, params: XmippAlignFramesParams, workplace: Workplace) -> Call:
    stem = movie_stem(tilt)
    words = [
        "-i", movie_name(tilt, series), "-o", f"out/{stem}.xmd", "--oavg", f"out/{stem}.mrc",
        "--sampling", *text_of(series.pixel_size_angstrom), "--device", str(workplace.gpu or 0),
    ]  # fmt: skip
    if params.halves:
        words += ["--oaligned", f"out/{stem}_frames.mrcs"]
    for name in ("--frameRange", "--frameRangeSum"):
        words += [name, *text_of(params.frames)]
    if series.gain is not None and params.use_gain:
        words += ["--gain", GAIN_NAME]
    if params.local_motion:
        words += [
            "--patches", *text_of(params.patches_xy), "--controlPoints", *text_of(params.controls_xyt),
            "--minLocalRes", str(params.coarsest_patch_angstrom), "--patchesAvg", str(params.patch_frames),
        ]  # fmt: skip
    else:
        words.append("--skipLocalAlignment")
    frames = (f"out/{stem}_frames.mrcs",) if params.halves else ()
    return Call(
        program=FLEXALIGN,
        arguments=(*words, *arguments_of(params)),
        files={"out/.folder": ""},
        writes=(f"out/{stem}.xmd", f"out/{stem}.mrc", *frames),
    )


def parse(series: TiltSeries, params: XmippAlignFramesParams, folder: Path) -> list[MovedTilt]:
    """Sums and shifts of every tilt, in the order of the series; the sums are written next to the movies."""
    moved = []
    for tilt in series.tilts:
        base = folder / "out" / movie_stem(tilt)
        # Its shift moves the frame (storeGlobalShifts of movie_alignment_correlation_base.cpp).
        shifts = _shifts_yx_px(base.with_suffix(".xmd")) * params.binning
        moved.append(MovedTilt(_sums(base, len(shifts), series, params), shifts))
    return moved


def _shifts_yx_px(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """``(frame, 2)`` as (y, x) of the frames that took part, in binned pixels."""
    rows = read_blocks(path).get("frameShifts", [])
    try:
        used = [(float(r["shiftY"]), float(r["shiftX"])) for r in rows if int(r.get("enabled", 1)) > 0]
    except (KeyError, ValueError) as error:
        raise DataUnfitError(f"{path.name} has frames without a shift ({error}); nothing is taken") from error
    shifts = np.array(used, dtype=np.float64)
    if not used or not np.isfinite(shifts).all():
        raise DataUnfitError(
            f"{path.name} holds no shifts in its block frameShifts, or some that are not finite"
        )
    return shifts


def _sums(base: Path, n_frames: int, series: TiltSeries, params: XmippAlignFramesParams) -> dict[str, Path]:
    """Sums as files: of all frames, and of the even and odd ones, counted from 0."""
    pixel = series.pixel_size_angstrom * params.binning
    mean = MrcPixels(base.with_suffix(".mrc"), as_image=True)
    if not params.halves:
        return {"images": _written(base, "sum", np.asarray(mean[:]) * np.float32(n_frames), pixel)}
    frames = MrcPixels(base.with_name(f"{base.name}_frames.mrcs"))
    if frames.shape[0] != n_frames:
        raise DataUnfitError(
            f"FlexAlign wrote {frames.shape[0]} aligned frames of {n_frames}; the result is not used"
        )
    halves = [np.zeros(frames.shape[1:], dtype=np.float32) for _ in range(2)]
    for i in range(n_frames):
        halves[i % 2] += frames[i]
    return {
        "images": _written(base, "sum", halves[0] + halves[1], pixel),
        "even": _written(base, "even", halves[0], pixel),
        "odd": _written(base, "odd", halves[1], pixel),
    }


def _written(
    base: Path, role: str, image: np.ndarray[tuple[int, ...], np.dtype[np.float32]], pixel: float
) -> Path:
    path = base.with_name(f"{base.name}_{role}.mrc")
    write_mrc(path, image, pixel)
    return path


@step(
    "xmipp_align_frames",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: 4 << 30,
    gpu="optional",
    ignores_exclusions=True,
    methods="Movie frames were aligned with FlexAlign of Xmipp.",
    figures=MOTION_FIGURES,
    source_of=("images",),
    programs=(FLEXALIGN,),
    calls=calls,
    beside="align_frames",
)
def xmipp_align_frames(
    series: TiltSeries, params: XmippAlignFramesParams, context: StepContext
) -> TiltSeries:
    """Correct the motion of every movie with FlexAlign, and sum its frames: all, even and odd ones."""
    eer = [series.movie_of(t).path.name for t in series.tilts if series.movie_of(t).path.suffix == ".eer"]
    if eer:
        raise DataUnfitError(
            f"FlexAlign is not given EER movies ({eer[0]}), whose frames it would not group; use "
            "align_frames, or convert them"
        )
    folder = context.scratch()
    place_movies(series, folder)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    groups = [1] * len(series.tilts)
    return series_with_sums(series, parse(series, params, folder), params.binning, groups, context)
