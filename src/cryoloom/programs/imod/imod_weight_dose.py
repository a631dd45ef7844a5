"""Weight images by accumulated dose with IMOD's mtffilter (Grant & Grigorieff 2015).

The file of doses holds the dose before and of every exposure (type 2), by section, so the order of the stack
does not matter. Halves are weighted alike.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.model import Stack, TiltSeries
from cryoloom.programs.handover import (
    ProgramParams,
    keep_stack,
    make_calls,
    place_float32,
    tilts_by_section,
    workplace_of,
)
from cryoloom.programs.imod.imod_programs import MTFFILTER
from cryoloom.programs.included_tilts import pixels_of_image

__all__ = ["ImodWeightDoseParams", "calls", "imod_weight_dose"]


class ImodWeightDoseParams(ProgramParams):
    """Options of mtffilter's dose weighting."""

    critical_dose_factor: float | None = option(
        "-OptimalDoseScaling", None, gt=0, description="Factor of the critical dose; unset: 1 at 300 kV."
    )
    low_pass: tuple[float, float] | None = option(
        "-LowPassRadiusSigma", None,
        description="Radius and sigma of an additional low-pass filter, in cycles per pixel.",
    )  # fmt: skip


def calls(series: TiltSeries, params: ImodWeightDoseParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for the images and one for each half."""
    stack = series.unweighted_stack
    doses = "".join(
        f"{tilt.dose_start_per_angstrom2:.4f} {tilt.dose_per_angstrom2:.4f}\n"
        for tilt in tilts_by_section(series, stack)
    )
    return tuple(
        Call(
            program=MTFFILTER,
            arguments=(
                "-InputFile", f"{name}.mrc", "-OutputFile", f"{name}_weighted.mrc",
                "-PixelSize", *text_of(stack.pixel_size_angstrom),
                "-Voltage", *text_of(round(series.microscope.voltage_kv)),
                "-TypeOfDoseFile", "2", "-DoseWeightingFile", "doses.txt", *arguments_of(params),
            ),
            files={"doses.txt": doses},
            writes=(f"{name}_weighted.mrc",),
        )
        for name in stack.present
    )  # fmt: skip


@step(
    "imod_weight_dose",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 28) + 16 * pixels_of_image(series.unweighted_stack),
    ignores_exclusions=True,
    methods="Images were weighted by accumulated dose with mtffilter of IMOD.",
    figures=(
        Figure(
            "total_dose_per_angstrom2",
            "e/angstrom^2",
            "Dose at the end",
            "Dose that the specimen has received when the last exposure ends.",
        ),
    ),
    programs=(MTFFILTER,),
    calls=calls,
    beside="weight_dose",
)
def imod_weight_dose(series: TiltSeries, params: ImodWeightDoseParams, context: StepContext) -> TiltSeries:
    """Make dose-weighted images with mtffilter; the unweighted ones stay."""
    stack, folder = series.unweighted_stack, context.scratch()
    total = max(tilt.dose_end_per_angstrom2 for tilt in series.tilts)
    if total <= 0:
        raise DataUnfitError(
            f"the doses of {series.name} are unknown (0 at the end); give the dose per tilt at import"
        )
    for name, pixels in stack.present.items():
        place_float32(pixels, folder / f"{name}.mrc", stack.pixel_size_angstrom)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    made = {
        name: keep_stack(
            context,
            f"weighted_{name}",
            folder / f"{name}_weighted.mrc",
            pixels.shape,
            stack.pixel_size_angstrom,
        )
        for name, pixels in stack.present.items()
    }
    context.figure("total_dose_per_angstrom2", total)
    weighted = Stack(
        made["images"], stack.pixel_size_angstrom, made.get("even"), made.get("odd"), stack.ctf_correction
    )
    return replace(series, weighted=weighted, corrected=None)
