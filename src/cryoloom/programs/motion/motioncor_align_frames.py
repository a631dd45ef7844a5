"""Correct the motion of every movie with MotionCor 2 or 3, one run a movie.

The gain is written as it is applied to the movies, so no rotation or flip is left to the program. EER frames
are grouped by each movie's own dose and frame count (``-FmIntFile``), so movies of different lengths may be
mixed. Shifts are those of whole frames; with patches the images are corrected locally too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Tilt, TiltSeries
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.motion.movie_folder import (
    GAIN_NAME,
    MOTION_FIGURES,
    MovedTilt,
    fractions_of,
    movie_name,
    movie_stem,
    place_movies,
    series_with_sums,
    sums_beside,
)

__all__ = ["MOTIONCOR", "MotioncorAlignFramesParams", "calls", "motioncor_align_frames", "parse"]

MOTIONCOR = Program(
    name="MotionCor",
    suite="MotionCor",
    executables=("MotionCor3", "motioncor3", "MotionCor2", "motioncor2"),
    purpose="motion between frames",
    versions=("2 1.6", "3 1.2"),
    version_pattern=r"(?i)MotionCor\d version (\d+(?:\.\d+)+)",
    needs_gpu=True,
    citation="Zheng, S.Q. et al. (2017) MotionCor2: anisotropic correction of beam-induced motion for "
    "improved cryo-electron microscopy. Nat. Methods 14, 331-332, doi:10.1038/nmeth.4193",
    homepage="https://github.com/czimaginginstitute/MotionCor3",
)
_INPUT_OPTIONS = {".mrc": "-InMrc", ".mrcs": "-InMrc", ".tif": "-InTiff", ".eer": "-InEer"}


class MotioncorAlignFramesParams(ProgramParams):
    """Options of MotionCor; tilts of a few electrons are best aligned as whole frames."""

    binning: float = option("-FtBin", 1.0, ge=1, le=32, description="Factor of Fourier cropping.")
    patches_xy: tuple[int, int] = option(
        "-Patch", (1, 1), description="Patches along x and y; 1 1: whole frames."
    )
    iterations: int = option("-Iter", 10, ge=1, description="Iterations of the alignment at most.")
    tolerance_px: float = option("-Tol", 0.2, gt=0, description="Iterations end below this change.")
    b_factor_px2: tuple[float, float] = option(
        "-Bft", (500.0, 150.0), description="B-factors of the alignment of whole frames and of patches."
    )
    phase_only: bool = option("-PhaseOnly", False, description="Correlate phases alone.")
    skip_first: int = option("-Throw", 0, ge=0, description="Frames left out at the start.")
    skip_last: int = option("-Trunc", 0, ge=0, description="Frames left out at the end.")
    group_frames: tuple[int, int] = option(
        "-Group", (1, 4), description="Frames averaged for the alignment: whole frames, patches."
    )
    reference_frame: int | None = option(
        "-FmRef", None, ge=1, description="Frame that others are aligned to; unset: the middle one."
    )
    correct_in_frame_motion: bool = option(
        "-InFmMotion", False, description="Account for motion within a frame."
    )
    magnification: tuple[float, float, float] | None = option(
        "-Mag", None, description="Magnification along major and minor axis, and the major axis in degrees."
    )
    halves: bool = option("-SplitSum", True, description="Also sum even and odd frames, for denoising.")
    dose_weight_frames: bool = option(
        "-FmDose", False, kind="computed",
        description="Also write sums whose frames are weighted by radiation damage (the weighted stack).",
    )  # fmt: skip
    eer_dose_per_fraction: float = option(
        "-FmIntFile", 0.5, gt=0, kind="computed",
        description="EER only: dose of a fraction in e/A^2, from which the frames of each movie are grouped.",
    )  # fmt: skip
    use_gain: bool = option(
        "-Gain", True, kind="computed", description="Apply the series' gain reference, where it has one."
    )
    gpu_memory_part: float = option(
        "-GpuMemUsage", 0.5, ge=0, le=1, description="Part of the GPU's memory for frames."
    )


def calls(series: TiltSeries, params: MotioncorAlignFramesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for each movie."""
    return tuple(_call(series, tilt, params, workplace) for tilt in series.tilts)


def _call(series: TiltSeries, tilt: Tilt, params: MotioncorAlignFramesParams, workplace: Workplace) -> Call:
    movie, name, stem = series.movie_of(tilt), movie_name(tilt, series), movie_stem(tilt)
    suffix = Path(name).suffix
    if suffix not in _INPUT_OPTIONS:
        raise DataUnfitError(
            f"MotionCor does not read {movie.path.name}; expected {', '.join(_INPUT_OPTIONS)}"
        )
    arguments = [
        _INPUT_OPTIONS[suffix], name, "-OutMrc", f"out/{stem}.mrc", "-LogDir", f"log/{stem}/",
        "-PixSize", *text_of(series.pixel_size_angstrom),
        "-kV", *text_of(round(series.microscope.voltage_kv)),
        "-Cs", "0", "-Gpu", str(workplace.gpu or 0),
        *arguments_of(params),
    ]  # fmt: skip
    files = {f"log/{stem}/.folder": "", "out/.folder": ""}
    group = fractions_of(series, tilt, params.eer_dose_per_fraction)
    n_fractions = max(1, movie.n_frames // group)
    if suffix == ".eer":
        files[f"fractions_{stem}.txt"] = (
            f"{movie.n_frames} {group} {tilt.dose_per_angstrom2 / movie.n_frames:.6g}\n"
        )
        arguments += ["-FmIntFile", f"fractions_{stem}.txt", "-EerSampling", str(movie.eer_sampling)]
    if series.gain is not None and params.use_gain:
        arguments += ["-Gain", GAIN_NAME]
    if params.dose_weight_frames:
        dose = tilt.dose_per_angstrom2 / (movie.n_frames if suffix == ".eer" else n_fractions)
        arguments += ["-InitDose", *text_of(tilt.dose_start_per_angstrom2), "-FmDose", *text_of(dose)]
    roles = [
        "",
        *(["_ODD", "_EVN"] if params.halves else []),
        *(["_DW"] if params.dose_weight_frames else []),
    ]
    return Call(
        program=MOTIONCOR,
        arguments=tuple(arguments),
        files=files,
        writes=tuple(f"out/{stem}{role}.mrc" for role in roles),
    )


def parse(series: TiltSeries, params: MotioncorAlignFramesParams, folder: Path) -> list[MovedTilt]:
    """Sums and shifts of every tilt, in the order of the series."""
    moved = []
    for tilt in series.tilts:
        base = folder / "out" / movie_stem(tilt)
        sums = sums_beside(base, halves=params.halves)
        if params.dose_weight_frames:
            sums["weighted_images"] = base.with_name(f"{base.name}_DW.mrc")
        moved.append(MovedTilt(sums, read_full_log(folder / "log" / movie_stem(tilt))))
    return moved


def read_full_log(folder: Path) -> NDArray[np.float64]:
    """Shifts ``(frame, 2)`` as (y, x) in pixels, from the log of whole frames in a folder.

    Lines are the frame from 1, and x and y by which it is moved (``CFullAlign.cpp``, ``GPhaseShift2D.cu``).
    """
    paths = sorted(folder.glob("*Full.log"))
    if not paths:
        raise DataUnfitError(f"MotionCor wrote no log of whole frames into {folder.name}, expected *Full.log")
    lines = [line.split() for line in paths[0].read_text(encoding="latin-1").splitlines()]
    rows = [words for words in lines if words and not words[0].startswith("#")]
    try:
        shifts = np.array([(float(y), float(x)) for _, x, y in rows])
    except ValueError as error:
        raise DataUnfitError(
            f"{paths[0].name} is not a log of MotionCor: expected frame, x, y a line"
        ) from error
    if len(shifts) == 0 or not np.isfinite(shifts).all():
        raise DataUnfitError(f"{paths[0].name} holds no shifts, or some that are not finite; run it again")
    return shifts


@step(
    "motioncor_align_frames",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: 4 << 30,
    gpu="optional",
    ignores_exclusions=True,
    methods="Movie frames were aligned with MotionCor.",
    figures=MOTION_FIGURES,
    source_of=("images",),
    programs=(MOTIONCOR,),
    calls=calls,
    beside="align_frames",
)
def motioncor_align_frames(
    series: TiltSeries, params: MotioncorAlignFramesParams, context: StepContext
) -> TiltSeries:
    """Correct the motion of every movie with MotionCor, and sum its frames: all, even and odd ones."""
    folder = context.scratch()
    place_movies(series, folder)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    groups = [fractions_of(series, tilt, params.eer_dose_per_fraction) for tilt in series.tilts]
    return series_with_sums(series, parse(series, params, folder), params.binning, groups, context)
