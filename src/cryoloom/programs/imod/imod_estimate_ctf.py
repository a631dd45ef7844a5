"""Estimate the CTF of a series with IMOD's ctfplotter, without its window.

The whole stack is given, with excluded tilts named as views to skip, so that views stay sections. Defocus
files are read as `formats.imod.defocus` says; between lines IMOD's own interpolation is applied.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf
from cryoloom.formats.imod.defocus import read_imod_defocus
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, bytes_of_one_image, series_with_found_ctfs
from cryoloom.programs.handover import (
    ProgramParams,
    make_calls,
    place_float32,
    tilts_by_section,
    workplace_of,
)
from cryoloom.programs.imod.imod_programs import CTFPLOTTER

__all__ = ["ImodEstimateCtfParams", "calls", "imod_estimate_ctf", "parse"]


class ImodEstimateCtfParams(ProgramParams):
    """Options of ctfplotter; its defocus values are in nanometre, ours in angstrom."""

    amplitude_contrast: float | None = option(
        "-AmplitudeContrast", None, kind="computed", ge=0, le=1,
        description="Fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    expected_defocus_angstrom: float | None = option(
        "-ExpectedDefocus", None, gt=0, kind="computed",
        description="Defocus that is expected. Unset: the nominal one of the series.",
    )  # fmt: skip
    defocus_tolerance_angstrom: float = option(
        "-DefocusTol", 2000.0, gt=0, kind="computed", description="Difference of defocus within a strip."
    )
    left_tolerance_angstrom: float = option(
        "-LeftDefTol", 20000.0, gt=0, kind="computed", description="The same for tiles left of the middle."
    )
    right_tolerance_angstrom: float = option(
        "-RightDefTol", 20000.0, gt=0, kind="computed", description="The same for tiles right of it."
    )
    tile_px: int = option("-TileSize", 256, ge=32, description="Size of the tiles.")
    spectrum_points: int = option("-PSResolution", 101, ge=20, description="Points of the spectrum.")
    view_range_and_step_deg: tuple[float, float] = option(
        "-AutoFitRangeAndStep", (16.0, 2.0), kind="comma",
        description="Range of tilts fitted together, and step between fits; a step of 0 fits single views.",
    )  # fmt: skip
    fit_range_per_px: tuple[float, float] | None = option(
        "-FrequencyRangeToFit", None, kind="comma", description="Frequencies that are fitted; unset: found."
    )
    find_astigmatism: bool = option(
        "-SearchAstigmatism", True, kind="flag", description="Find the astigmatism."
    )
    max_astigmatism_um: float = option(
        "-MaximumAstigmatism", 1.2, gt=0, description="Largest astigmatism, in micrometre."
    )
    least_views: tuple[int, int] = option(
        "-MinViewsAstigAndPhase", (3, 1), kind="comma",
        description="Views fitted together at least for astigmatism and for phase shift.",
    )  # fmt: skip
    sectors: int = option("-NumberOfSectors", 36, ge=4, description="Sectors of the spectrum.")
    find_phase_shift: bool = option(
        "-SearchPhaseShift", False, kind="flag", description="Find the phase shift."
    )
    find_cuton: bool = option(
        "-SearchCutonFrequency", False, kind="flag", description="Find the cut-on frequency."
    )

    @model_validator(mode="after")
    def _cuton_needs_phase(self) -> ImodEstimateCtfParams:
        if self.find_cuton and not self.find_phase_shift:
            raise ValueError("find_cuton needs find_phase_shift")
        return self


def calls(series: TiltSeries, params: ImodEstimateCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run that saves and exits. It draws nothing, but Qt must have a platform."""
    stack, microscope = series.unweighted_stack, series.microscope
    tilts = tilts_by_section(series, stack)
    axis = series.tilt_axis_deg.applied
    if axis is None:
        raise DataUnfitError(f"the tilt axis of {series.name} is unknown; give it at import, or align first")
    contrast = params.amplitude_contrast
    skipped = [str(i + 1) for i, tilt in enumerate(tilts) if tilt.is_excluded]
    arguments = [
        "-InputStack", "stack.mrc", "-AngleFile", "stack.tlt", "-DefocusFile", "stack.defocus",
        "-AxisAngle", *text_of(axis), "-PixelSize", *text_of(stack.pixel_size_angstrom / 10),
        "-Voltage", *text_of(round(microscope.voltage_kv)),
        "-SphericalAberration", *text_of(microscope.spherical_aberration_mm),
        "-AmplitudeContrast", *text_of(microscope.amplitude_contrast if contrast is None else contrast),
        "-ExpectedDefocus", *text_of(_expected_angstrom(series, params) / 10),
        "-DefocusTol", *text_of(round(params.defocus_tolerance_angstrom / 10)),  # a whole number there
        "-LeftDefTol", *text_of(params.left_tolerance_angstrom / 10),
        "-RightDefTol", *text_of(params.right_tolerance_angstrom / 10),
        *(["-ViewsToSkip", ",".join(skipped)] if skipped else []),
        *arguments_of(params),
        "-SaveAndExit",
    ]  # fmt: skip
    best = dict(zip((tilt.acquisition_index for tilt in series.tilts), series.tilt_deg, strict=True))
    return (
        Call(
            program=CTFPLOTTER,
            arguments=tuple(arguments),
            files={"stack.tlt": "".join(f"{best[tilt.acquisition_index]:.4f}\n" for tilt in tilts)},
            writes=("stack.defocus",),
            environment={"QT_QPA_PLATFORM": "offscreen"},
        ),
    )


def parse(folder: Path, series: TiltSeries) -> ForeignCtf:
    """CTFs of the sections, from what ctfplotter wrote in its folder."""
    return read_imod_defocus(folder / "stack.defocus", series)


def _expected_angstrom(series: TiltSeries, params: ImodEstimateCtfParams) -> float:
    if params.expected_defocus_angstrom is not None:
        return params.expected_defocus_angstrom
    nominal = [t.nominal_defocus_angstrom for t in series.included if t.nominal_defocus_angstrom]
    if not nominal:
        raise DataUnfitError(
            f"the defocus set for {series.name} is unknown; give expected_defocus_angstrom (60000 is usual)"
        )
    return float(sorted(nominal)[len(nominal) // 2])


@step(
    "imod_estimate_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=bytes_of_one_image,
    methods="The CTF was estimated with ctfplotter of IMOD.",
    figures=CTF_FIGURES,
    source_of=("ctf",),
    programs=(CTFPLOTTER,),
    calls=calls,
    beside="estimate_ctf",
)
def imod_estimate_ctf(series: TiltSeries, params: ImodEstimateCtfParams, context: StepContext) -> TiltSeries:
    """Estimate the CTF of a series with ctfplotter."""
    stack, folder = series.unweighted_stack, context.scratch()
    place_float32(stack.images, folder / "stack.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    return series_with_found_ctfs(series, parse(folder, series), context)
