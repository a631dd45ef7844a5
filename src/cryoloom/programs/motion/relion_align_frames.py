"""Correct the motion of every movie with RELION's own implementation of MotionCor2's algorithm.

RELION groups EER frames in the same way in all movies of a run, so movies that need another grouping by their
own dose and frame count get a separate run. Shifts are those of whole frames. With patches, the images are
corrected locally too; RELION stores this correction as a polynomial, which is not imported.
"""

from __future__ import annotations

from pathlib import Path

from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, setting
from cryoloom.contract.step import StepContext, step
from cryoloom.formats.relion.relion5_motion import read_motion_shifts
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

__all__ = ["RELION_MOTIONCORR", "RelionAlignFramesParams", "calls", "parse", "relion_align_frames"]

RELION_MOTIONCORR = Program(
    name="relion_run_motioncorr",
    suite="RELION",
    executables=("relion_run_motioncorr",),
    purpose="motion between frames",
    versions=("3.1", "4.0", "5.0"),
    oldest="3.1",
    citation="Zivanov, J., Nakane, T. & Scheres, S.H.W. (2019) A Bayesian approach to beam-induced motion "
    "correction in cryo-EM single-particle analysis. IUCrJ 6, 5-17, doi:10.1107/S205225251801463X",
    homepage="https://relion.readthedocs.io",
)


class RelionAlignFramesParams(ProgramParams):
    """Options of ``relion_run_motioncorr --use_own``."""

    binning: float = option("--bin_factor", 1.0, ge=1, le=32, description="Factor of Fourier cropping.")
    b_factor_px2: float = option(
        "--bfactor", 150.0, ge=0, description="Damping of fine detail in the correlation, in square pixels."
    )
    patches_x: int = option("--patch_x", 1, ge=1, le=20, description="Patches along x; 1: whole frames.")
    patches_y: int = option("--patch_y", 1, ge=1, le=20, description="Patches along y; 1: whole frames.")
    group_frames: int = option("--group_frames", 1, ge=1, description="Frames averaged for the alignment.")
    max_iterations: int = option("--max_iter", 5, ge=1, description="Iterations of the alignment at most.")
    first_frame: int = option("--first_frame_sum", 1, ge=1, description="First frame of the sum, from 1.")
    last_frame: int = option("--last_frame_sum", -1, description="Last frame of the sum; -1: the last.")
    find_defects: bool = option(
        "--skip_defect", True, kind="computed", description="Replace hot pixels found in the movie."
    )
    downsample_correlation: float = option(
        "--ccf_downsample", 0.0, ge=0, description="Sampling of the correlation; 0: from the B-factor."
    )
    interpolate_shifts: bool = option(
        "--interpolate_shifts", False, kind="flag", description="Interpolate shifts between grouped frames."
    )
    halves: bool = option(
        "--even_odd_split",
        False,
        kind="flag",
        description="Also sum even and odd frames (RELION 4 or later).",
    )
    eer_dose_per_fraction: float = option(
        "--eer_grouping", 0.5, gt=0, kind="computed",
        description="EER only: dose of a fraction in e/A^2, from which the frames of each movie are grouped.",
    )  # fmt: skip
    use_gain: bool = option(
        "--gainref", True, kind="computed", description="Apply the series' gain reference, where it has one."
    )
    movies_per_run: int | None = setting(
        None, ge=1, description="Movies given to one run of the program; unset: all of the series."
    )


def calls(series: TiltSeries, params: RelionAlignFramesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for each grouping of EER frames; other movies need one run."""
    by_group: dict[int, list[Tilt]] = {}
    for tilt in series.tilts:
        by_group.setdefault(fractions_of(series, tilt, params.eer_dose_per_fraction), []).append(tilt)
    made: list[Call] = []
    for group, tilts in by_group.items():
        n_at_once = params.movies_per_run or len(tilts)
        for first in range(0, len(tilts), n_at_once):
            made.append(_call(series, tilts[first : first + n_at_once], group, len(made), params, workplace))
    return tuple(made)


def _call(
    series: TiltSeries,
    tilts: list[Tilt],
    group: int,
    number: int,
    params: RelionAlignFramesParams,
    workplace: Workplace,
) -> Call:
    star = f"movies_{number}.star"
    first = series.movie_of(tilts[0])
    is_eer = first.path.suffix.lower() == ".eer"
    arguments = [
        "--i", star, "--o", "out/", "--use_own", "--j", str(workplace.n_threads),
        *arguments_of(params),
    ]  # fmt: skip
    if not params.find_defects:
        arguments.append("--skip_defect")
    if is_eer:
        arguments += ["--eer_grouping", str(group), "--eer_upsampling", str(first.eer_sampling)]
    if series.gain is not None and params.use_gain:
        arguments += ["--gainref", GAIN_NAME]
    names = [movie_stem(tilt) for tilt in tilts]
    suffixes = ["", "_EVN", "_ODD"] if params.halves else [""]
    return Call(
        program=RELION_MOTIONCORR,
        arguments=tuple(arguments),
        files={star: _star(series, tilts)},
        writes=tuple(
            path
            for name in names
            for path in (f"out/movies/{name}.star", *(f"out/movies/{name}{s}.mrc" for s in suffixes))
        ),
    )


def _star(series: TiltSeries, tilts: list[Tilt]) -> str:
    """The movies as RELION 3.1 and later read them."""
    microscope = series.microscope
    lines = [
        "data_optics", "", "loop_", "_rlnOpticsGroupName #1", "_rlnOpticsGroup #2",
        "_rlnMicrographOriginalPixelSize #3", "_rlnVoltage #4", "_rlnSphericalAberration #5",
        "_rlnAmplitudeContrast #6",
        f"opticsGroup1 1 {series.pixel_size_angstrom:.6f} {microscope.voltage_kv:.3f} "
        f"{microscope.spherical_aberration_mm:.3f} {microscope.amplitude_contrast:.4f}",
        "", "data_movies", "", "loop_", "_rlnMicrographMovieName #1", "_rlnOpticsGroup #2",
        *(f"{movie_name(tilt, series)} 1" for tilt in tilts),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def parse(series: TiltSeries, params: RelionAlignFramesParams, folder: Path) -> list[MovedTilt]:
    """Sums and shifts of every tilt, in the order of the series."""
    moved = []
    for tilt in series.tilts:
        base = folder / "out" / "movies" / movie_stem(tilt)
        sums = sums_beside(base, halves=params.halves)
        moved.append(MovedTilt(sums, read_motion_shifts(base.with_suffix(".star"))))
    return moved


def _bytes_needed(series: TiltSeries, params: RelionAlignFramesParams) -> int:
    """RELION holds all frames of a movie as floats and as spectra."""
    movies = [tilt.movie for tilt in series.tilts if tilt.movie is not None]
    return (1 << 28) + max(
        (9 * min(m.n_frames, 64) * m.shape_yx[0] * m.shape_yx[1] for m in movies), default=0
    )


@step(
    "relion_align_frames",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    ignores_exclusions=True,
    methods="Movie frames were aligned with RELION's own motion correction.",
    figures=MOTION_FIGURES,
    source_of=("images",),
    programs=(RELION_MOTIONCORR,),
    calls=calls,
    beside="align_frames",
)
def relion_align_frames(
    series: TiltSeries, params: RelionAlignFramesParams, context: StepContext
) -> TiltSeries:
    """Correct the motion of every movie with RELION, and sum its frames."""
    folder = context.scratch()
    is_eer = series.movie_of(series.tilts[0]).path.suffix.lower() == ".eer"
    # For EER, RELION takes the reciprocal of a gain that is no .gain file (renderEER.h).
    place_movies(series, folder, divide_by_gain=is_eer)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    groups = [fractions_of(series, tilt, params.eer_dose_per_fraction) for tilt in series.tilts]
    return series_with_sums(series, parse(series, params, folder), params.binning, groups, context)
