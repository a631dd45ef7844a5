"""Estimate the CTF of every tilt with CTFFIND 4 or 5.

The stack before dose weighting is given as images of their own, one after the other. CTFFIND asks questions
on standard input (its `ctffind.cpp`); version 5 also asks for the thickness of the specimen. Excluded tilts
are fitted too, so that taking one back needs no new run.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from cryoloom.contract.program import Call, Program, Workplace, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.formats.ctf_programs.ctffind import read_ctffind
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, bytes_of_one_image, series_with_found_ctfs
from cryoloom.programs.handover import ProgramParams, make_calls, place_float32, workplace_of

__all__ = ["CTFFIND", "CtffindEstimateCtfParams", "calls", "ctffind_estimate_ctf", "parse"]

CTFFIND = Program(
    name="CTFFIND",
    suite="cisTEM",
    executables=("ctffind5", "ctffind", "ctffind4"),
    purpose="CTF of every tilt",
    versions=("4.1", "5.0"),
    oldest="4.1",
    version_pattern=r"(?i)version\W*(\d+(?:\.\d+)+)",
    citation="Rohou, A. & Grigorieff, N. (2015) CTFFIND4: fast and accurate defocus estimation from electron "
    "micrographs. J. Struct. Biol. 192, 216-221, doi:10.1016/j.jsb.2015.08.008",
    homepage="https://grigoriefflab.umassmed.edu/ctffind4",
)


class CtffindEstimateCtfParams(ProgramParams):
    """CTFFIND's questions; the defaults are those of the tutorials."""

    asks_for_thickness: bool = setting(
        True, description="Whether this CTFFIND asks for the thickness of the specimen: 5 does, 4 does not."
    )
    amplitude_contrast: float | None = option(
        "Amplitude contrast", None, kind="computed", ge=0, le=1,
        description="Fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    box_px: int = option(
        "Size of amplitude spectrum to compute", 512, ge=128, description="Size of the spectrum, in pixels."
    )
    coarsest_angstrom: float = option(
        "Minimum resolution", 30.0, gt=0, le=50, description="Lowest resolution that is fitted."
    )
    finest_angstrom: float = option(
        "Maximum resolution",
        5.0,
        gt=0,
        description="Highest resolution that is fitted; at most what the pixels show.",
    )
    defocus_min_angstrom: float = option("Minimum defocus", 5000.0, description="Least underfocus tried.")
    defocus_max_angstrom: float = option("Maximum defocus", 50000.0, description="Largest underfocus tried.")
    defocus_step_angstrom: float = option(
        "Defocus search step", 500.0, ge=1, description="Step of the search."
    )
    exhaustive: bool = option(
        "Slower, more exhaustive search?", False, description="Search 2D spectra from the start."
    )
    astigmatism_tolerance_angstrom: float | None = option(
        "Expected (tolerated) astigmatism", 200.0, gt=0,
        description="Astigmatism beyond which a fit is penalised; none does not restrain it.",
    )  # fmt: skip
    phase_shift_min_rad: float | None = option(
        "Minimum phase shift (rad)", None, ge=-3.15, le=3.15,
        description="Least phase shift tried; with all three of these the phase shift is searched for.",
    )  # fmt: skip
    phase_shift_max_rad: float | None = option(
        "Maximum phase shift (rad)", None, ge=-3.15, le=3.15, description="Largest phase shift tried."
    )
    phase_shift_step_rad: float | None = option(
        "Phase shift search step", None, gt=0, description="Step of the search for the phase shift."
    )
    find_tilt: bool = option(
        "Determine sample tilt?", False,
        description="Find the tilt in every image by itself; not together with a phase shift.",
    )  # fmt: skip
    find_thickness: bool = option(
        "Determine samnple thickness?", False, description="Find the thickness from nodes in the rings (5)."
    )
    nodes_search_1d: bool = option("Use brute force 1D search?", True, description="Nodes: search first.")
    nodes_refine_2d: bool = option("Use 2D refinement?", True, description="Nodes: refine in 2D.")
    nodes_coarsest_angstrom: float = option(
        "Low resolution limit for nodes", 30.0, gt=0, description="Nodes: lowest resolution."
    )
    nodes_finest_angstrom: float = option(
        "High resolution limit for nodes", 3.0, gt=0, description="Nodes: highest resolution."
    )
    nodes_rounded_square: bool = option(
        "Use rounded square for nodes?", False, description="Nodes: shape of the modulation."
    )
    nodes_downweight: bool = option("Downweight nodes?", False, description="Nodes: count them less.")

    @model_validator(mode="after")
    def _is_answerable(self) -> CtffindEstimateCtfParams:
        phases = (self.phase_shift_min_rad, self.phase_shift_max_rad, self.phase_shift_step_rad)
        if any(phase is None for phase in phases) and any(phase is not None for phase in phases):
            raise ValueError("give all of phase_shift_min_rad, phase_shift_max_rad and phase_shift_step_rad")
        if self.find_tilt and phases[0] is not None:
            raise ValueError("CTFFIND finds the tilt or the phase shift, not both; give one of them")
        if self.find_thickness and not self.asks_for_thickness:
            raise ValueError("find_thickness needs CTFFIND 5; set asks_for_thickness, or leave it out")
        if self.defocus_max_angstrom <= self.defocus_min_angstrom:
            raise ValueError("defocus_max_angstrom must be larger than defocus_min_angstrom")
        return self


def calls(series: TiltSeries, params: CtffindEstimateCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run on the stack ``stack.mrc``.

    No resolution beyond Nyquist is asked for: at 5 A for pixels of 4 A, CTFFIND 5.0.2 gave the least defocus
    of the search to every tilt.
    """
    stack, microscope = series.unweighted_stack, series.microscope
    contrast = params.amplitude_contrast
    answers = [
        ("Input image file name", "stack.mrc"),
        *([("Input is a movie (stack of frames)", "no")] if stack.images.shape[0] > 1 else []),
        ("Output diagnostic image file name", "spectra.mrc"),
        ("Pixel size", _text(stack.pixel_size_angstrom)),
        ("Acceleration voltage", _text(microscope.voltage_kv)),
        ("Spherical aberration", _text(microscope.spherical_aberration_mm)),
        ("Amplitude contrast", _text(microscope.amplitude_contrast if contrast is None else contrast)),
        ("Size of amplitude spectrum to compute", _text(params.box_px)),
        ("Minimum resolution", _text(params.coarsest_angstrom)),
        ("Maximum resolution", _text(max(params.finest_angstrom, 2 * stack.pixel_size_angstrom))),
        ("Minimum defocus", _text(params.defocus_min_angstrom)),
        ("Maximum defocus", _text(params.defocus_max_angstrom)),
        ("Defocus search step", _text(params.defocus_step_angstrom)),
        ("Do you know what astigmatism is present?", "no"),
        ("Slower, more exhaustive search?", _yes(params.exhaustive)),
    ]
    tolerance = params.astigmatism_tolerance_angstrom
    answers.append(("Use a restraint on astigmatism?", _yes(tolerance is not None)))
    if tolerance is not None:
        answers.append(("Expected (tolerated) astigmatism", _text(tolerance)))
    finds_phase = params.phase_shift_min_rad is not None
    answers.append(("Find additional phase shift?", _yes(finds_phase)))
    if finds_phase:
        answers += [
            ("Minimum phase shift (rad)", _text(params.phase_shift_min_rad)),
            ("Maximum phase shift (rad)", _text(params.phase_shift_max_rad)),
            ("Phase shift search step", _text(params.phase_shift_step_rad)),
        ]
    else:
        answers.append(("Determine sample tilt?", _yes(params.find_tilt)))
    if params.asks_for_thickness:
        answers += _thickness_answers(params, 2 * stack.pixel_size_angstrom)
    answers.append(("Do you want to set expert options?", "no"))
    return (
        Call(
            program=CTFFIND,
            answers=tuple(answers),
            writes=("spectra.txt",),
            environment={"OMP_NUM_THREADS": str(workplace.n_threads)},
        ),
    )


def parse(folder: Path) -> ForeignCtf:
    """CTFs of the sections, from what CTFFIND wrote in its folder."""
    return read_ctffind(folder / "spectra.txt")


def _thickness_answers(params: CtffindEstimateCtfParams, nyquist_angstrom: float) -> list[tuple[str, str]]:
    """The question is spelt as CTFFIND 5 does."""
    answers = [("Determine samnple thickness?", _yes(params.find_thickness))]
    if params.find_thickness:
        answers += [
            ("Use brute force 1D search?", _yes(params.nodes_search_1d)),
            ("Use 2D refinement?", _yes(params.nodes_refine_2d)),
            ("Low resolution limit for nodes", _text(params.nodes_coarsest_angstrom)),
            ("High resolution limit for nodes", _text(max(params.nodes_finest_angstrom, nyquist_angstrom))),
            ("Use rounded square for nodes?", _yes(params.nodes_rounded_square)),
            ("Downweight nodes?", _yes(params.nodes_downweight)),
        ]
    return answers


def _text(value: object) -> str:
    return " ".join(text_of(value))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@step(
    "ctffind_estimate_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    version=2,
    bytes_needed=bytes_of_one_image,
    ignores_exclusions=True,
    methods="The CTF of every tilt was estimated with CTFFIND.",
    figures=CTF_FIGURES,
    source_of=("ctf",),
    programs=(CTFFIND,),
    calls=calls,
    beside="estimate_ctf",
)
def ctffind_estimate_ctf(
    series: TiltSeries, params: CtffindEstimateCtfParams, context: StepContext
) -> TiltSeries:
    """Estimate the CTF of every tilt with CTFFIND, by itself."""
    stack = series.unweighted_stack
    place_float32(stack.images, context.scratch() / "stack.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    return series_with_found_ctfs(series, parse(context.scratch()), context)
