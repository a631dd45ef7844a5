"""Estimate the CTF of an aligned series as a whole with WarpTools (``ts_ctf``), and its handedness if wanted.

The series is given as an export to Warp, with poses, doses and exclusions; Warp fits one plane to all tilts,
so its defocus is that of the poses' origin. It reads its own XML file, and writes its answer into it.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.warp.tilt_series import read_warp_ctf, write_warp
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, bytes_of_one_image, series_with_found_ctfs
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.warp.warptools import WARPTOOLS, tilt_series_settings

__all__ = ["WarpEstimateCtfParams", "calls", "warp_estimate_ctf"]

_SETTINGS, _NAME = "tiltseries.settings", "stack"


class WarpEstimateCtfParams(ProgramParams):
    """Options of WarpTools' ts_ctf."""

    window_px: int = option("--window", 512, ge=128, description="Window of the spectra.")
    range_angstrom: tuple[float, float] = option(
        "--range_low", (30.0, 7.0), kind="computed", description="Coarsest and finest detail of the fit."
    )
    defocus_range_um: tuple[float, float] = option(
        "--defocus_min", (0.5, 8.0), kind="computed", description="Defocus that is searched, micrometre."
    )
    fit_phase: bool = option("--fit_phase", False, kind="flag", description="Fit a phase shift.")
    amplitude_contrast: float | None = option(
        "--amplitude", None, ge=0, le=1, kind="computed",
        description="Fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    movies_per_gpu: int = option("--perdevice", 1, ge=1, description="Series worked on at once.")


def calls(series: TiltSeries, params: WarpEstimateCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """The settings, and one run over the series."""
    stack, microscope = series.unweighted_stack, series.microscope
    pixel = stack.pixel_size_angstrom
    n_y, n_x = stack.shape_yx
    contrast = params.amplitude_contrast
    return (
        tilt_series_settings(_SETTINGS, series, _NAME, (n_x * pixel, n_y * pixel, 3000.0)),
        Call(
            program=WARPTOOLS,
            arguments=(
                "ts_ctf", "--settings", _SETTINGS,
                "--range_low", *text_of(params.range_angstrom[0]),
                "--range_high", *text_of(params.range_angstrom[1]),
                "--defocus_min", *text_of(params.defocus_range_um[0]),
                "--defocus_max", *text_of(params.defocus_range_um[1]),
                "--voltage", *text_of(round(microscope.voltage_kv)),
                "--cs", *text_of(microscope.spherical_aberration_mm),
                "--amplitude", *text_of(microscope.amplitude_contrast if contrast is None else contrast),
                "--device_list", str(workplace.gpu or 0), *arguments_of(params),
            ),
            writes=(f"warp_tiltseries/powerspectrum/{_NAME}.mrc",),
        ),
    )  # fmt: skip


@step(
    "warp_estimate_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=bytes_of_one_image,
    gpu="optional",
    methods="The CTF of every series was fitted as a whole with WarpTools.",
    figures=CTF_FIGURES,
    source_of=("ctf",),
    programs=(WARPTOOLS,),
    calls=calls,
    beside="estimate_ctf",
)
def warp_estimate_ctf(series: TiltSeries, params: WarpEstimateCtfParams, context: StepContext) -> TiltSeries:
    """Estimate the CTF of an aligned series with WarpTools."""
    folder = context.scratch()
    write_warp([(replace(series, name=_NAME), None)], folder)
    xml = folder / "warp_tiltseries" / f"{_NAME}.xml"
    before = xml.read_bytes()
    make_calls(calls(series, params, workplace_of(context)), params, context)
    if xml.read_bytes() == before:
        raise DataUnfitError(f"WarpTools left {xml.name} as it was: it found no CTF of {series.name}")
    return series_with_found_ctfs(series, read_warp_ctf(xml), context)
