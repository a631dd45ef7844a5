"""Flip the phases of aligned images in strips along the tilt axis with IMOD's ctfphaseflip.

It takes a series after apply_alignment, since ctfphaseflip needs the tilt axis along y. The defocus of every
tilt is that at the origin of the poses; without a known handedness IMOD's own is assumed, as IMOD does.
"""

from __future__ import annotations

from dataclasses import replace

from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, option
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.export import write_imod
from cryoloom.model import Stack, TiltSeries
from cryoloom.programs.handover import ProgramParams, keep_stack, make_calls, place_float32, workplace_of
from cryoloom.programs.imod.imod_programs import CTFPHASEFLIP
from cryoloom.programs.imod.phase_flip import phase_flip_call
from cryoloom.programs.included_tilts import pixels_of_image
from cryoloom.programs.reconstruction.upright_stack import require_upright, used_tilts

__all__ = ["ImodCorrectCtfParams", "calls", "imod_correct_ctf"]


class ImodCorrectCtfParams(ProgramParams):
    """Options of ctfphaseflip."""

    defocus_tolerance_angstrom: float = option(
        "-DefocusTol", 2000.0, gt=0, kind="computed", description="Difference of defocus within a strip."
    )
    interpolation_px: int = option(
        "-InterpolationWidth", 15, ge=1, kind="computed", description="Distance between strips."
    )
    use_gpu: bool = option("-UseGPU", False, kind="computed", description="Use the GPU.")


def calls(series: TiltSeries, params: ImodCorrectCtfParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run for the images and one for each half."""
    stack = series.uncorrected_stack
    gpu = ["-UseGPU", str((workplace.gpu or 0) + 1)] if params.use_gpu else []
    return tuple(
        phase_flip_call(
            name, f"{name}.mrc", stack.pixel_size_angstrom, series, gpu,
            defocus_tolerance_angstrom=params.defocus_tolerance_angstrom,
            interpolation_px=params.interpolation_px,
        )
        for name in stack.present
    )  # fmt: skip


@step(
    "imod_correct_ctf",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: (1 << 28) + 24 * pixels_of_image(series.uncorrected_stack),
    gpu="optional",
    methods="The CTF was corrected in strips along the tilt axis with ctfphaseflip of IMOD.",
    figures=(Figure("n_corrected", "tilts", "Tilts corrected", "Tilts in use whose phases were flipped."),),
    programs=(CTFPHASEFLIP,),
    calls=calls,
    beside="correct_ctf",
)
def imod_correct_ctf(series: TiltSeries, params: ImodCorrectCtfParams, context: StepContext) -> TiltSeries:
    """Flip the phases of aligned images with ctfphaseflip, and of their halves."""
    require_upright(series, CTFPHASEFLIP.name)
    without = [tilt.acquisition_index for tilt in used_tilts(series) if tilt.ctf is None]
    if without:
        raise DataUnfitError(f"tilts {without} of {series.name} have no CTF to correct; estimate it first")
    if series.handedness.applied is None:
        context.warn(f"the handedness of {series.name} is not known; ctfphaseflip is given IMOD's own (+1)")
    at_origin = with_defocus_at_origin(series, assume_centred=True)
    stack, folder = series.uncorrected_stack, context.scratch()
    for name, pixels in stack.present.items():
        place_float32(pixels, folder / f"{name}.mrc", stack.pixel_size_angstrom)
    write_imod([(replace(at_origin, name="stack", stack=stack, weighted=None, corrected=None), None)], folder)
    make_calls(calls(series, params, workplace_of(context)), params, context)
    made = {
        name: keep_stack(
            context,
            f"corrected_{name}",
            folder / f"{name}_flipped.mrc",
            pixels.shape,
            stack.pixel_size_angstrom,
        )
        for name, pixels in stack.present.items()
    }
    context.figure("n_corrected", len(used_tilts(series)))
    corrected = Stack(
        made["images"], stack.pixel_size_angstrom, made.get("even"), made.get("odd"), "phase_flip"
    )
    return replace(series, corrected=corrected)
