"""Common parts of IMOD's two alignments: coarse shifts, the stack that is tracked, and tiltalign.

Images are named ``stack.*`` in the scratch folder. The chain ends with ``stack.xf`` (transforms of the whole
images), ``stack.tlt`` and ``stack.xtilt``, from which poses are made (`formats.imod.alignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import ProgramOutput, StepContext
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment
from cryoloom.formats.imod.alignment import read_imod
from cryoloom.model import Stack, TiltSeries
from cryoloom.procedures.foreign_poses import with_foreign_poses
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.imod.imod_programs import NEWSTACK, TILTALIGN, TILTXCORR, XFPRODUCT, XFTOXG
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, with_results, written

__all__ = [
    "RESIDUAL_FIGURE",
    "ImodAlignmentParams",
    "align_by_chain",
    "axis_arguments",
    "coarse_calls",
    "filter_arguments",
    "parse",
    "residual_px",
    "run_chain",
    "solution_calls",
    "with_alignment",
]

_OF_CORRELATION = ("filter_sigma1", "filter_radius2", "filter_sigma2")
_OF_SOLUTION = (
    "rotation", "rotation_group", "tilt", "tilt_group", "magnification", "magnification_group", "robust",
    "robust_factor", "residual_criterion", "metro_factor", "cycles", "surfaces",
)  # fmt: skip

RESIDUAL_FIGURE = Figure(
    "residual_mean_angstrom",
    "angstrom",
    "Residual, mean",
    "Mean distance between tracked and predicted positions, as tiltalign prints it.",
    good="below a few pixels",
)


class ImodAlignmentParams(ProgramParams):
    """Options of tiltxcorr, newstack and tiltalign that every alignment with IMOD has."""

    images: ImageChoice = setting("unweighted", description="Images that are aligned.")
    axis_deg: float | None = option(
        "-RotationAngle", None, ge=-180, le=180, kind="computed",
        description="Direction of the tilt axis to start from. Unset: that of the series.",
    )  # fmt: skip
    filter_sigma1: float = option("-FilterSigma1", 0.03, ge=0, description="tiltxcorr: high-pass filter.")
    filter_radius2: float = option("-FilterRadius2", 0.25, gt=0, description="tiltxcorr: low-pass radius.")
    filter_sigma2: float = option("-FilterSigma2", 0.05, ge=0, description="tiltxcorr: low-pass fall-off.")
    cumulative: bool = option(
        "-CumulativeCorrelation", False, kind="computed",
        description="tiltxcorr, coarse: correlate with the sum of the images already placed.",
    )  # fmt: skip
    binning: int = option("-BinByFactor", 4, ge=1, le=16, description="newstack: pixels per tracked pixel.")
    rotation: int = option(
        "-RotOption", -1, ge=-1, le=3, description="tiltalign: rotation; -1: one, 0: fixed."
    )
    rotation_group: int = option("-RotDefaultGrouping", 5, ge=1, description="tiltalign: rotation, 3: group.")
    tilt: int = option("-TiltOption", 0, ge=0, le=5, description="tiltalign: tilts; 0: fixed, 5: grouped.")
    tilt_group: int = option("-TiltDefaultGrouping", 5, ge=1, description="tiltalign: tilts in a group.")
    magnification: int = option(
        "-MagOption", 0, ge=0, le=4, description="tiltalign: magnification; 0: fixed."
    )
    magnification_group: int = option("-MagDefaultGrouping", 4, ge=1, description="tiltalign: its groups.")
    surfaces: int = option(
        "-SurfacesToAnalyze", 1, ge=0, le=2, description="tiltalign: surfaces that the points lie on."
    )
    robust: bool = option("-RobustFitting", True, kind="flag", description="tiltalign: down-weight outliers.")
    robust_factor: float = option("-KFactorScaling", 1.0, gt=0, description="tiltalign: strength of that.")
    residual_criterion: float = option(
        "-ResidualReportCriterion", 3.0, gt=0, description="tiltalign: deviations above this are reported."
    )
    metro_factor: float = option("-MetroFactor", 0.25, gt=0, description="tiltalign: step of the search.")
    cycles: int = option("-MaximumCycles", 1000, ge=1, description="tiltalign: cycles of the search.")
    centre_specimen: bool = setting(
        False, description="Move z = 0 into the middle of the specimen; else it stays where IMOD has it."
    )


def axis_arguments(series: TiltSeries, params: ImodAlignmentParams) -> tuple[str, ...]:
    """``-RotationAngle`` and the axis to start from. Raises DataUnfitError if it is unknown."""
    axis = series.tilt_axis_deg.applied if params.axis_deg is None else params.axis_deg
    if axis is None:
        raise DataUnfitError(
            f"the tilt axis of {series.name} is unknown; give axis_deg, or the axis at import"
        )
    return ("-RotationAngle", *text_of(axis))


def filter_arguments(params: ImodAlignmentParams) -> tuple[str, ...]:
    """Filters of tiltxcorr."""
    return arguments_of(params, only=_OF_CORRELATION)


def coarse_calls(series: TiltSeries, params: ImodAlignmentParams) -> tuple[Call, Call, Call]:
    """``stack.preali``: the binned stack, placed by shifts between neighbours (``stack.prexg``)."""
    tilts = sorted(series.tilts, key=lambda tilt: tilt.section or 0)
    return (
        Call(
            program=TILTXCORR,
            arguments=(
                "-InputFile", "stack.mrc", "-OutputFile", "stack.prexf", "-TiltFile", "stack.rawtlt",
                *axis_arguments(series, params), *filter_arguments(params),
                *(["-CumulativeCorrelation"] if params.cumulative else []),
            ),
            files={"stack.rawtlt": "".join(f"{tilt.nominal_tilt_deg:.4f}\n" for tilt in tilts)},
            writes=("stack.prexf",),
        ),
        Call(
            program=XFTOXG,
            arguments=("-NumberToFit", "0", "-InputFile", "stack.prexf", "-GOutputFile", "stack.prexg"),
            writes=("stack.prexg",),
        ),
        Call(
            program=NEWSTACK,
            arguments=(
                "-InputFile", "stack.mrc", "-OutputFile", "stack.preali", "-TransformFile", "stack.prexg",
                "-ImagesAreBinned", "1", "-BinByFactor", str(params.binning), "-FloatDensities", "2",
            ),
            writes=("stack.preali",),
        ),
    )  # fmt: skip


def solution_calls(series: TiltSeries, params: ImodAlignmentParams) -> tuple[Call, Call]:
    """Tiltalign from the tracks of ``stack.fid``, and the product of both transforms."""
    return (
        Call(
            program=TILTALIGN,
            arguments=(
                "-ModelFile", "stack.fid", "-ImageFile", "stack.preali",
                "-ImagesAreBinned", str(params.binning), "-TiltFile", "stack.rawtlt",
                *axis_arguments(series, params),
                "-OutputTiltFile", "stack.tlt",
                "-OutputXAxisTiltFile", "stack.xtilt", "-OutputTransformFile", "stack.tltxf",
                *arguments_of(params, only=_OF_SOLUTION),
            ),
            writes=("stack.tlt", "stack.tltxf"),
        ),
        Call(
            program=XFPRODUCT,
            arguments=(
                "-InputFile1", "stack.prexg", "-InputFile2", "stack.tltxf", "-OutputFile", "stack.xf",
                "-ScaleShifts", f"1,{params.binning}",
            ),
            writes=("stack.xf",),
        ),
    )  # fmt: skip


def run_chain(
    chain: Sequence[Call], series: TiltSeries, params: ImodAlignmentParams, context: StepContext
) -> list[ProgramOutput]:
    """Run a chain of calls whose last two are those of `solution_calls`.

    Where tiltalign has too few points for robust fitting it is run again without, and a warning says so.
    """
    try:
        return make_calls(chain, params, context)
    except DataUnfitError as error:
        if not params.robust or "ROBUST FITTING" not in error.message.upper():
            raise
        context.warn("tiltalign has too few points for robust fitting and was run without it (robust)")
        return make_calls(
            solution_calls(series, params.model_copy(update={"robust": False})), params, context
        )


P = TypeVar("P", bound=ImodAlignmentParams)


def align_by_chain(
    series: TiltSeries,
    params: P,
    calls: Callable[[TiltSeries, P, Workplace], Sequence[Call]],
    context: StepContext,
    step: str,
) -> TiltSeries:
    """Write the tilts in use, run the chain that ``calls`` makes for them, and give the aligned series."""
    stack = chosen_stack(series, params.images)
    used = written(series, stack, context.scratch() / "stack.mrc", least=5)
    given = params.model_copy(update={"images": "unweighted"})
    printed = run_chain(calls(used, given, workplace_of(context)), used, given, context)
    return with_alignment(series, used, stack, params, printed, context, step)


def parse(folder: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float) -> ForeignAlignment:
    """The alignment, from what IMOD's programs wrote in their folder."""
    return read_imod(folder / "stack.xf", shape_yx, pixel_size_angstrom)


def residual_px(text: str) -> float | None:
    """Mean residual in pixels of the tracked stack, as tiltalign prints it; None if it does not say."""
    for line in reversed(text.splitlines()):
        words = line.replace(":", " ").split()
        if line.strip().lower().startswith("residual error mean and sd"):
            numbers = [word for word in words if word.replace(".", "", 1).isdigit()]
            return float(numbers[0]) if numbers else None
    return None


def with_alignment(
    series: TiltSeries,
    used: TiltSeries,
    stack: Stack,
    params: ImodAlignmentParams,
    printed: Sequence[ProgramOutput],
    context: StepContext,
    step: str,
) -> TiltSeries:
    """The whole series with the poses that the chain found for the tilts in use, and records its residual."""
    found = with_foreign_poses(
        used,
        parse(context.scratch(), stack.shape_yx, stack.pixel_size_angstrom),
        context,
        program="IMOD",
        step=step,
        centre_specimen=params.centre_specimen,
    )
    residual = residual_px(printed[-2].text)
    context.figure(
        "residual_mean_angstrom",
        None if residual is None else residual * stack.pixel_size_angstrom * params.binning,
        reason="tiltalign printed no residual",
    )
    return with_results(series, found)
