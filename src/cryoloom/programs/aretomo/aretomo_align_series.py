"""Align a series without markers with AreTomo 2, and estimate its CTF if wanted.

AreTomo gets the tilts in use, with their nominal angles, order and dose. It drops dark tilts of its own
accord; these are excluded here with that reason. Its tilt axis, shifts and, with patches, local shifts become
poses (`formats.aretomo.aln`). The tilts that it writes show which way its tilt offset was applied.
"""

from __future__ import annotations

from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.model import TiltSeries
from cryoloom.procedures.foreign_poses import FOREIGN_POSE_FIGURES, bytes_to_place_poses
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES
from cryoloom.programs.aretomo.answer import CTF_FIGURE, with_answer
from cryoloom.programs.aretomo.aretomo2 import ARETOMO2, angle_file, axis_arguments, even_px
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, written

__all__ = ["AretomoAlignSeriesParams", "aretomo_align_series", "calls"]


class AretomoAlignSeriesParams(ProgramParams):
    """Options of AreTomo 2's alignment."""

    images: ImageChoice = setting("unweighted", description="Images that are aligned.")
    height_angstrom: float = option(
        "-AlignZ", 1900.0, gt=0, kind="computed",
        description="Height of the volume that is used in the alignment: about the specimen's thickness.",
    )  # fmt: skip
    axis_deg: float | None = option(
        "-TiltAxis", None, ge=-180, le=180, kind="computed",
        description="Direction of the tilt axis to start from. Unset: that of the series.",
    )  # fmt: skip
    refine_axis: bool = option(
        "-TiltAxis", True, kind="computed",
        description="Refine the tilt axis; else it stays as it is given.",
    )  # fmt: skip
    tilt_offset: tuple[int, float] = option(
        "-TiltCor", (0, 0.0),
        description="-1 do not measure the offset of the tilts, 0 use it in the alignment, 1 keep it; then "
        "an offset in degrees to use instead of the measured one (0: measure).",
    )  # fmt: skip
    patches_xy: tuple[int, int] = option(
        "-Patch", (0, 0), description="Patches of the local alignment along x and y; 0 0 has none."
    )
    b_factors: tuple[float, float] = option(
        "-Bft", (500.0, 500.0), description="B-factors of the correlation, whole images and patches."
    )
    dark_tolerance: float = option(
        "-DarkTol", 0.7, gt=0, lt=1, description="Tilts darker than this part of the others are dropped."
    )
    estimate_ctf: bool = option(
        "-Cs", False, kind="computed", description="Also estimate the CTF of every tilt."
    )
    amplitude_contrast: float | None = option(
        "-AmpContrast", None, kind="computed", ge=0, le=1,
        description="CTF: fraction of amplitude contrast. Unset: that of the series.",
    )  # fmt: skip
    phase_shift_deg: tuple[float, float] | None = option(
        "-ExtPhase", None, description="CTF: phase shift and range of its search, with a phase plate."
    )
    centre_specimen: bool = setting(
        False, description="Move z = 0 into the middle of the specimen; else it stays where AreTomo has it."
    )


def calls(series: TiltSeries, params: AretomoAlignSeriesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run that aligns and makes no volume. The series is that of the tilts in use."""
    pixel_size = chosen_stack(series, params.images).pixel_size_angstrom
    microscope = series.microscope
    arguments = [
        "-InMrc", "stack.mrc", "-OutMrc", "out/aligned.mrc", "-AngFile", "stack.tlt", "-VolZ", "0",
        "-OutBin", "8", "-PixSize", *text_of(pixel_size), "-Kv", *text_of(microscope.voltage_kv),
        "-Gpu", str(workplace.gpu or 0),
        "-AlignZ", str(even_px(params.height_angstrom, pixel_size)),
        *arguments_of(params),
    ]  # fmt: skip
    arguments += axis_arguments(series, params.axis_deg, params.refine_axis)
    contrast = params.amplitude_contrast
    arguments += ["-AmpContrast", *text_of(microscope.amplitude_contrast if contrast is None else contrast)]
    if params.estimate_ctf:
        arguments += ["-Cs", *text_of(microscope.spherical_aberration_mm)]
    return (
        Call(
            program=ARETOMO2,
            arguments=tuple(arguments),
            files={"stack.tlt": angle_file(series), "out/.folder": ""},
            writes=("out/stack.aln", *(("out/stack_ctf.txt",) if params.estimate_ctf else ())),
        ),
    )


@step(
    "aretomo_align_series",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    gpu="optional",
    methods="Tilt series were aligned without markers with AreTomo.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES, CTF_FIGURE),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"axis_deg": axis_deg, "refine_axis": False},
    programs=(ARETOMO2,),
    calls=calls,
    beside="align_series",
)
def aretomo_align_series(
    series: TiltSeries, params: AretomoAlignSeriesParams, context: StepContext
) -> TiltSeries:
    """Align the tilts in use with AreTomo."""
    folder = context.scratch()
    stack = chosen_stack(series, params.images)
    used = written(series, stack, folder / "stack.mrc", least=5)
    make_calls(
        calls(used, params.model_copy(update={"images": "unweighted"}), workplace_of(context)),
        params,
        context,
    )
    return with_answer(
        series,
        used,
        stack,
        folder / "out" / "stack.aln",
        folder / "out" / "stack_ctf.txt" if params.estimate_ctf else None,
        context,
        program=ARETOMO2.name,
        step="aretomo_align_series",
        centre_specimen=params.centre_specimen,
    )
