"""Estimate the CTF of every tilt with Gctf, all images of a series in one run.

Each section is given as a single image, named by its number, so values go back by section. Excluded
tilts are fitted too, so that taking one back needs no new run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import model_validator

from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView
from cryoloom.formats.ctf_programs.gctf import read_star_ctf
from cryoloom.model import TiltSeries
from cryoloom.programs.ctf.foreign_result import CTF_FIGURES, bytes_of_one_image, series_with_found_ctfs
from cryoloom.programs.handover import ProgramParams, make_calls, place_float32, workplace_of

__all__ = ["GCTF", "GctfEstimateCtfParams", "calls", "gctf_estimate_ctf", "parse"]

GCTF = Program(
    name="Gctf",
    suite="Gctf",
    executables=("Gctf", "gctf"),
    purpose="CTF of every tilt on a GPU",
    versions=("1.06", "1.18"),
    version_arguments=None,
    needs_gpu=True,
    citation="Zhang, K. (2016) Gctf: real-time CTF determination and correction. J. Struct. Biol. 193, 1-12, "
    "doi:10.1016/j.jsb.2015.11.003",
    homepage="https://www2.mrc-lmb.cam.ac.uk/download/gctf",
)


class GctfEstimateCtfParams(ProgramParams):
    """Options of Gctf."""

    amplitude_contrast: float | None = option(
        "--ac", None, kind="computed", ge=0, le=1,
        description="Fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    box_px: int = option("--boxsize", 512, ge=128, description="Size of the spectrum, in pixels.")
    coarsest_angstrom: float = option("--resL", 50.0, gt=0, description="Lowest resolution that is fitted.")
    finest_angstrom: float = option("--resH", 5.0, gt=0, description="Highest resolution that is fitted.")
    defocus_min_angstrom: float = option("--defL", 5000.0, description="Least underfocus tried.")
    defocus_max_angstrom: float = option("--defH", 90000.0, description="Largest underfocus tried.")
    defocus_step_angstrom: float = option("--defS", 500.0, gt=0, description="Step of the search.")
    astigmatism_angstrom: float = option("--astm", 1000.0, gt=0, description="Astigmatism that is expected.")
    b_factor_angstrom2: float = option("--bfac", 150.0, ge=0, description="Damping of fine detail.")
    smoothing_px: int = option("--convsize", 85, ge=1, description="Box of the smoothed background.")
    average_rings: bool = option("--do_EPA", False, description="Average along the rings (EPA).")
    phase_shift_min_deg: float | None = option(
        "--phase_shift_L", None, ge=0, le=180, description="Least phase shift tried; with all three of these."
    )
    phase_shift_max_deg: float | None = option(
        "--phase_shift_H", None, ge=0, le=180, description="Largest phase shift tried."
    )
    phase_shift_step_deg: float | None = option(
        "--phase_shift_S", None, gt=0, le=90, description="Step of the search for the phase shift."
    )

    @model_validator(mode="after")
    def _phases_are_complete(self) -> GctfEstimateCtfParams:
        phases = (self.phase_shift_min_deg, self.phase_shift_max_deg, self.phase_shift_step_deg)
        if any(phase is None for phase in phases) and any(phase is not None for phase in phases):
            raise ValueError("give all of phase_shift_min_deg, phase_shift_max_deg and phase_shift_step_deg")
        return self


def image_name(section: int) -> str:
    """Name of a section's image."""
    return f"section_{section:04d}.mrc"


def calls(series: TiltSeries, params: GctfEstimateCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run on the images of all sections."""
    stack, microscope = series.unweighted_stack, series.microscope
    contrast = params.amplitude_contrast
    arguments = (
        "--apix", *text_of(stack.pixel_size_angstrom), "--kV", *text_of(microscope.voltage_kv),
        "--Cs", *text_of(microscope.spherical_aberration_mm),
        "--ac", *text_of(microscope.amplitude_contrast if contrast is None else contrast),
        "--ctfstar", "series.star", "--gid", str(workplace.gpu or 0), *arguments_of(params),
        *(image_name(section) for section in range(stack.images.shape[0])),
    )  # fmt: skip
    return (Call(program=GCTF, arguments=arguments, writes=("series.star",)),)


def parse(folder: Path) -> ForeignCtf:
    """CTFs of the sections, from what Gctf wrote in its folder."""
    found = read_star_ctf(folder / "series.star")
    views = tuple(_of_section(view) for view in found.views)
    return replace(found, views=views, n_images=len(views))


def _of_section(view: ForeignCtfView) -> ForeignCtfView:
    number = Path(view.image_name).stem.removeprefix("section_")
    if not number.isdigit():
        raise DataUnfitError(f"Gctf gives a CTF for {view.image_name!r}, expected names as section_0001.mrc")
    return replace(view, section=int(number), image_name="")


@step(
    "gctf_estimate_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=bytes_of_one_image,
    gpu="optional",
    ignores_exclusions=True,
    methods="The CTF of every tilt was estimated with Gctf.",
    figures=CTF_FIGURES,
    source_of=("ctf",),
    programs=(GCTF,),
    calls=calls,
    beside="estimate_ctf",
)
def gctf_estimate_ctf(series: TiltSeries, params: GctfEstimateCtfParams, context: StepContext) -> TiltSeries:
    """Estimate the CTF of every tilt with Gctf, by itself."""
    stack, folder = series.unweighted_stack, context.scratch()
    for section in range(stack.images.shape[0]):
        place_float32(stack.images, folder / image_name(section), stack.pixel_size_angstrom, [section])
    make_calls(calls(series, params, workplace_of(context)), params, context)
    return series_with_found_ctfs(series, parse(folder), context)
