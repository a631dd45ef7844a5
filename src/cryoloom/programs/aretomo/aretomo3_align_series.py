"""Align a series without markers with AreTomo 3, and estimate its CTF if wanted.

AreTomo 3 works on folders: it is given ``stack.mrc`` with ``stack_TLT.txt`` (angle, order of acquisition from
1, dose) and starts from the alignment (``-Cmd 1``). It drops dark tilts; these are excluded
here with that reason. The specimen's thickness is found by AreTomo where no height is given.
"""

from __future__ import annotations

from cryoloom.contract.program import Call, Program, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.model import TiltSeries
from cryoloom.procedures.foreign_poses import FOREIGN_POSE_FIGURES, bytes_to_place_poses
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES
from cryoloom.programs.aretomo.answer import CTF_FIGURE, with_answer
from cryoloom.programs.aretomo.aretomo2 import angle_file, axis_arguments, even_px
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, written

__all__ = ["ARETOMO3", "Aretomo3AlignSeriesParams", "aretomo3_align_series", "calls"]

ARETOMO3 = Program(
    name="AreTomo3",
    suite="AreTomo",
    executables=("AreTomo3", "aretomo3"),
    purpose="alignment without markers and CTF, with local CTF correction",
    versions=("2.0", "2.1", "2.2"),
    version_pattern=r"(?i)AreTomo3? version (\d+(?:\.\d+)+)",
    needs_gpu=True,
    citation="Peck, A. et al. (2025) AreTomoLive: Automated reconstruction of comprehensively-corrected and "
    "denoised cryo-electron tomograms in real-time and at high throughput. bioRxiv, "
    "doi:10.1101/2025.03.11.642690",
    homepage="https://github.com/czimaginginstitute/AreTomo3",
)


class Aretomo3AlignSeriesParams(ProgramParams):
    """Options of AreTomo 3's alignment."""

    images: ImageChoice = setting("unweighted", description="Images that are aligned.")
    height_angstrom: float | None = option(
        "-AlignZ", None, gt=0, kind="computed",
        description="Height of the volume that is used in the alignment. Unset: the thickness it finds.",
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
        "-AtPatch", (0, 0), description="Patches of the local alignment along x and y; 0 0 has none."
    )
    dark_tolerance: float = option(
        "-DarkTol", 0.7, gt=0, lt=1, description="Tilts darker than this part of the others are dropped."
    )
    estimate_ctf: bool = option(
        "-Cs", True, kind="computed", description="Also estimate the CTF of every tilt."
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


def calls(series: TiltSeries, params: Aretomo3AlignSeriesParams, workplace: Workplace) -> tuple[Call, ...]:
    """One run that aligns and makes no volume. The series is that of the tilts in use."""
    pixel_size = chosen_stack(series, params.images).pixel_size_angstrom
    microscope = series.microscope
    arguments = [
        "-InPrefix", "stack", "-InSuffix", ".mrc", "-OutDir", "out/", "-Cmd", "1", "-VolZ", "0",
        "-SplitSum", "0", "-PixSize", *text_of(pixel_size), "-kV", *text_of(round(microscope.voltage_kv)),
        "-Gpu", str(workplace.gpu or 0), *arguments_of(params),
    ]  # fmt: skip
    if params.height_angstrom is not None:
        arguments += ["-AlignZ", str(even_px(params.height_angstrom, pixel_size))]
    arguments += axis_arguments(series, params.axis_deg, params.refine_axis)
    contrast = params.amplitude_contrast
    arguments += ["-AmpContrast", *text_of(microscope.amplitude_contrast if contrast is None else contrast)]
    # Without a spherical aberration it estimates no CTF.
    arguments += ["-Cs", *text_of(microscope.spherical_aberration_mm if params.estimate_ctf else 0.0)]
    return (
        Call(
            program=ARETOMO3,
            arguments=tuple(arguments),
            files={"stack_TLT.txt": angle_file(series), "out/.folder": ""},
            writes=("out/stack.aln", *(("out/stack_CTF.txt",) if params.estimate_ctf else ())),
        ),
    )


@step(
    "aretomo3_align_series",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    gpu="optional",
    methods="Tilt series were aligned without markers with AreTomo 3.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES, CTF_FIGURE),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"axis_deg": axis_deg, "refine_axis": False},
    programs=(ARETOMO3,),
    calls=calls,
    beside="align_series",
)
def aretomo3_align_series(
    series: TiltSeries, params: Aretomo3AlignSeriesParams, context: StepContext
) -> TiltSeries:
    """Align the tilts in use with AreTomo 3."""
    folder = context.scratch()
    stack = chosen_stack(series, params.images)
    used = written(series, stack, folder / "stack.mrc", least=5)
    given = params.model_copy(update={"images": "unweighted"})
    make_calls(calls(used, given, workplace_of(context)), params, context)
    return with_answer(
        series,
        used,
        stack,
        folder / "out" / "stack.aln",
        folder / "out" / "stack_CTF.txt" if params.estimate_ctf else None,
        context,
        program=ARETOMO3.name,
        step="aretomo3_align_series",
        centre_specimen=params.centre_specimen,
    )
