"""Correct the motion of every movie with WarpTools, sum its frames, and estimate the CTF of every tilt.

Its motion model is a grid over image and time; the length of the path is reported, the positions of single
frames are not imported. Its CTF of a movie does not include the tilt: it is that of the specimen in the
middle of the image.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryoloom.contract.program import Call, Workplace, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of
from cryoloom.formats.warp.grids import WarpGrid
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, series_with_found_ctfs
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
from cryoloom.programs.warp.warptools import WARPTOOLS, settings_call

__all__ = ["WarpAlignFramesParams", "calls", "read_movie_ctf", "read_path_angstrom", "warp_align_frames"]

_FOLDER, _SETTINGS = "warp_frameseries", "frameseries.settings"
_SUMS = {"images": "average", "even": "average/even", "odd": "average/odd"}


class WarpAlignFramesParams(ProgramParams):
    """Options of WarpTools' create_settings and fs_motion_and_ctf, with the tutorials' defaults."""

    binning: float = option(
        "--bin", 1.0, ge=1, le=32, kind="computed", description="Binning; WarpTools takes its logarithm to 2."
    )
    motion_range_angstrom: tuple[float, float] = option(
        "--m_range_min",
        (500.0, 10.0),
        kind="computed",
        description="Coarsest and finest detail of the motion.",
    )
    motion_b_factor: float = option(
        "--m_bfac", -500.0, description="B-factor of the motion fit, square angstrom; negative damps detail."
    )
    motion_grid: tuple[int, int, int] | None = option(
        "--m_grid",
        None,
        kind="computed",
        description="Nodes of the motion along x, y and time. Unset: found.",
    )
    estimate_ctf: bool = option("--c_grid", True, kind="computed", description="Keep the CTF of every tilt.")
    ctf_window_px: int = option("--c_window", 512, ge=128, description="Window of the spectra.")
    ctf_range_angstrom: tuple[float, float] = option(
        "--c_range_min",
        (30.0, 8.0),
        kind="computed",
        description="Coarsest and finest detail of the CTF fit.",
    )
    defocus_range_um: tuple[float, float] = option(
        "--c_defocus_min", (0.5, 8.0), kind="computed", description="Defocus that is searched, micrometre."
    )
    ctf_grid: tuple[int, int, int] | None = option(
        "--c_grid", (2, 2, 1), kind="computed", description="Nodes of the defocus along x, y and time."
    )
    fit_phase: bool = option("--c_fit_phase", False, kind="flag", description="Fit a phase shift.")
    use_sum: bool = option(
        "--c_use_sum", False, kind="flag", description="Spectrum of the sum, not of frames."
    )
    halves: bool = option(
        "--out_average_halves", True, kind="flag", description="Also sum even and odd frames."
    )
    eer_dose_per_fraction: float | None = option(
        "--eer_groupexposure",
        None,
        gt=0,
        description="EER only: dose of a fraction in e/A^2. Unset: by number.",
    )
    eer_fractions: int = option(
        "--eer_ngroups", 16, ge=1, kind="computed", description="EER only: fractions of a movie."
    )
    use_gain: bool = option(
        "--gain_path", True, kind="computed", description="Apply the series' gain reference."
    )
    movies_per_gpu: int = option("--perdevice", 1, ge=1, description="Movies worked on at once.")


def calls(series: TiltSeries, params: WarpAlignFramesParams, workplace: Workplace) -> tuple[Call, ...]:
    """The settings, and one run over all movies of the series."""
    movie, microscope = series.movie_of(series.tilts[0]), series.microscope
    is_eer = movie.path.suffix.lower() == ".eer"
    words = [
        "--angpix", *text_of(series.pixel_size_angstrom), "--bin", *text_of(float(np.log2(params.binning))),
        "--exposure", *text_of(series.tilts[0].dose_per_angstrom2),
    ]  # fmt: skip
    if is_eer and params.eer_dose_per_fraction is not None:
        words += ["--eer_groupexposure", *text_of(params.eer_dose_per_fraction)]
    elif is_eer:
        words += ["--eer_ngroups", str(params.eer_fractions)]
    if series.gain is not None and params.use_gain:
        words += ["--gain_path", GAIN_NAME]
    ranges = {
        "--m_range": params.motion_range_angstrom, "--c_range": params.ctf_range_angstrom,
        "--c_defocus": params.defocus_range_um,
    }  # fmt: skip
    limits = [
        word
        for name, (low, high) in ranges.items()
        for word in (f"{name}_min", *text_of(low), f"{name}_max", *text_of(high))
    ]
    grids = {
        "--m_grid": params.motion_grid,
        "--c_grid": params.ctf_grid if params.estimate_ctf else (1, 1, 1),
    }
    stems = [movie_stem(tilt) for tilt in series.tilts]
    sums = _SUMS if params.halves else {"images": _SUMS["images"]}
    return (
        settings_call(_SETTINGS, "movies", _FOLDER, f"*{Path(movie_name(series.tilts[0], series)).suffix}",
                      tuple(words)),
        Call(
            program=WARPTOOLS,
            arguments=(
                "fs_motion_and_ctf", "--settings", _SETTINGS, "--out_averages", *limits,
                "--c_voltage", *text_of(round(microscope.voltage_kv)),
                "--c_cs", *text_of(microscope.spherical_aberration_mm),
                "--c_amplitude", *text_of(microscope.amplitude_contrast),
                *(w for name, n in grids.items() if n is not None for w in (name, "x".join(map(str, n)))),
                "--device_list", str(workplace.gpu or 0), *_options(params),
            ),
            writes=tuple(
                path
                for stem in stems
                for path in (f"{_FOLDER}/{stem}.xml", *(f"{_FOLDER}/{sums[s]}/{stem}.mrc" for s in sums))
            ),
        ),
    )  # fmt: skip


def _options(params: WarpAlignFramesParams) -> tuple[str, ...]:
    """Options of fs_motion_and_ctf that stand as they are."""
    words = ["--m_bfac", *text_of(params.motion_b_factor), "--c_window", str(params.ctf_window_px)]
    flags = {
        "--c_fit_phase": params.fit_phase, "--c_use_sum": params.use_sum,
        "--out_average_halves": params.halves,
    }  # fmt: skip
    words += [name for name, is_on in flags.items() if is_on]
    return (*words, "--perdevice", str(params.movies_per_gpu))


def read_movie_ctf(path: Path) -> ForeignCtfView:
    """CTF of a movie's XML file: Warp has the mean defocus in micrometre, and the phase in half turns."""
    root = _root(path)
    given = {p.get("Name"): p.get("Value", "") for p in root.findall("CTF/Param")}
    try:
        defocus, delta = float(given["Defocus"]), float(given.get("DefocusDelta", "0"))
        ctf = ctf_of(
            1e4 * (defocus + delta / 2),
            1e4 * (defocus - delta / 2),
            float(given.get("DefocusAngle", "0")),
            phase_shift_deg=180.0 * float(given.get("PhaseShift", "0")),
            fit_resolution_angstrom=float(root.get("CTFResolutionEstimate", "0")),
            where=path.name,
        )
    except (KeyError, ValueError) as error:
        raise DataUnfitError(
            f"{path.name} has no CTF of a Warp movie ({error}); the result is not used"
        ) from error
    return ForeignCtfView(ctf)


def read_path_angstrom(path: Path) -> float:
    """Length of the path that the whole image takes during the exposure, of a movie's XML file."""
    x, y = (WarpGrid.read(_root(path), f"GridMovement{axis}") for axis in "XY")
    if x is None or y is None:
        return 0.0
    mean = [grid.values.mean(axis=(1, 2)) for grid in (x, y)]
    return float(np.hypot(*np.diff(np.stack(mean), axis=1)).sum()) if len(mean[0]) > 1 else 0.0


def _root(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DataUnfitError(f"{path} is not Warp's file of a movie: {error}") from error


@step(
    "warp_align_frames",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: 8 << 30,
    gpu="optional",
    ignores_exclusions=True,
    methods="Movie frames were aligned with WarpTools.",
    figures=(*MOTION_FIGURES, *CTF_FIGURES),
    source_of=("images", "ctf"),
    programs=(WARPTOOLS,),
    calls=calls,
    beside="align_frames",
)
def warp_align_frames(series: TiltSeries, params: WarpAlignFramesParams, context: StepContext) -> TiltSeries:
    """Correct the motion of every movie with WarpTools, sum its frames, and estimate its CTF."""
    folder = context.scratch()
    place_movies(series, folder, divide_by_gain=False)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    sums = _SUMS if params.halves else {"images": _SUMS["images"]}
    files = [folder / _FOLDER / f"{movie_stem(tilt)}.xml" for tilt in series.tilts]
    moved = [
        MovedTilt(
            {role: folder / _FOLDER / place / f"{movie_stem(tilt)}.mrc" for role, place in sums.items()},
            None,
            read_path_angstrom(file),
        )
        for tilt, file in zip(series.tilts, files, strict=True)
    ]
    is_eer = series.movie_of(series.tilts[0]).path.suffix.lower() == ".eer"
    # The grouping of EER frames by WarpTools is not known here.
    per_fraction = [None if is_eer else 1] * len(moved)
    made = series_with_sums(series, moved, params.binning, per_fraction, context)
    if not params.estimate_ctf:
        reason = "estimate_ctf is off"
        context.not_measurable("n_fitted", reason)
        context.not_measurable("defocus_median_angstrom", reason)
        context.not_measurable("ctf_resolution_angstrom", reason)
        return made
    views = tuple(replace(read_movie_ctf(file), section=section) for section, file in enumerate(files))
    return series_with_found_ctfs(made, ForeignCtf(files[0], views, n_images=len(views)), context)
