"""Align a series by patch tracking with IMOD: tiltxcorr, xftoxg, newstack, imodchopconts, tiltalign.

The tilts in use are given, in order of section. Coarse shifts place the images, patches are tracked over
them, and tiltalign solves for the geometry, as eTomo does. The transforms become poses
(`formats.imod.alignment`) by acquisition index. Lengths are in angstrom here and in binned pixels there.
"""

from __future__ import annotations

from pathlib import Path

from cryoloom.contract.figures import Figure
from cryoloom.contract.program import Call, Workplace, arguments_of, option, setting, text_of
from cryoloom.contract.step import StepContext, step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment
from cryoloom.formats.imod.alignment import read_imod
from cryoloom.model import TiltSeries
from cryoloom.procedures.foreign_poses import FOREIGN_POSE_FIGURES, bytes_to_place_poses, with_foreign_poses
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES
from cryoloom.programs.handover import ProgramParams, make_calls, workplace_of
from cryoloom.programs.imod.imod_programs import (
    IMODCHOPCONTS,
    NEWSTACK,
    TILTALIGN,
    TILTXCORR,
    XFPRODUCT,
    XFTOXG,
)
from cryoloom.programs.included_tilts import ImageChoice, chosen_stack, with_results, written

__all__ = ["ImodAlignSeriesParams", "calls", "imod_align_series", "parse", "residual_px"]

_OF_CORRELATION = ("filter_sigma1", "filter_radius2", "filter_sigma2")
_OF_PATCHES = ("patch_overlap", "iterations")
_OF_CHOPPING = ("least_overlap", "piece_length")
_OF_SOLUTION = (
    "rotation", "rotation_group", "tilt", "tilt_group", "magnification", "magnification_group", "robust",
    "robust_factor", "residual_criterion", "metro_factor", "cycles",
)  # fmt: skip


class ImodAlignSeriesParams(ProgramParams):
    """Options of IMOD's programs; the defaults are those of eTomo's patch tracking and the tutorials."""

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
    patch_angstrom: float = option(
        "-SizeOfPatchesXandY", 1000.0, gt=0, kind="computed", description="tiltxcorr: size of the patches."
    )
    patch_overlap: tuple[float, float] = option(
        "-OverlapOfPatchesXandY", (0.33, 0.33), kind="comma", description="tiltxcorr: overlap of patches."
    )
    iterations: int = option("-IterateCorrelations", 1, ge=1, description="tiltxcorr: rounds of tracking.")
    border_angstrom: float = option(
        "-BordersInXandY", 0.0, ge=0, kind="computed", description="tiltxcorr: margin without patches."
    )
    least_overlap: int = option("-MinimumOverlap", 4, ge=1, description="imodchopconts: overlap of pieces.")
    piece_length: int = option(
        "-LengthOfPieces", -1, ge=-1, description="imodchopconts: views of a piece; -1: IMOD's choice."
    )
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


def calls(series: TiltSeries, params: ImodAlignSeriesParams, workplace: Workplace) -> tuple[Call, ...]:
    """The chain of programs, for a series of the tilts in use."""
    stack = chosen_stack(series, params.images)
    axis = series.tilt_axis_deg.applied if params.axis_deg is None else params.axis_deg
    if axis is None:
        raise DataUnfitError(
            f"the tilt axis of {series.name} is unknown; give axis_deg, or the axis at import"
        )
    binned = stack.pixel_size_angstrom * params.binning
    patch, border = (max(1, round(n / binned)) for n in (params.patch_angstrom, params.border_angstrom))
    border = 0 if params.border_angstrom == 0 else border
    tilts = sorted(series.tilts, key=lambda tilt: tilt.section or 0)
    turn = ("-RotationAngle", *text_of(axis))
    filters = arguments_of(params, only=_OF_CORRELATION)
    return (
        Call(
            program=TILTXCORR,
            arguments=(
                "-InputFile", "stack.mrc", "-OutputFile", "stack.prexf", "-TiltFile", "stack.rawtlt", *turn,
                *filters, *(["-CumulativeCorrelation"] if params.cumulative else []),
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
        Call(
            program=TILTXCORR,
            arguments=(
                "-InputFile", "stack.preali", "-OutputFile", "patches.fid", "-TiltFile", "stack.rawtlt",
                *turn, *filters, "-SizeOfPatchesXandY", f"{patch},{patch}", "-BordersInXandY",
                f"{border},{border}",
                "-PrealignmentTransformFile", "stack.prexg", "-ImagesAreBinned", str(params.binning),
                *arguments_of(params, only=_OF_PATCHES),
            ),
            writes=("patches.fid",),
        ),
        Call(
            program=IMODCHOPCONTS,
            arguments=(
                "-InputModel", "patches.fid", "-OutputModel", "stack.fid", "-AssignSurfaces", "1",
                *arguments_of(params, only=_OF_CHOPPING),
            ),
            writes=("stack.fid",),
        ),
        Call(
            program=TILTALIGN,
            arguments=(
                "-ModelFile", "stack.fid", "-ImageFile", "stack.preali",
                "-ImagesAreBinned", str(params.binning), "-TiltFile", "stack.rawtlt", *turn,
                "-OutputTiltFile", "stack.tlt",
                "-OutputXAxisTiltFile", "stack.xtilt", "-OutputTransformFile", "stack.tltxf",
                "-SurfacesToAnalyze", "1", *arguments_of(params, only=_OF_SOLUTION),
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


def parse(folder: Path, shape_yx: tuple[int, int], pixel_size_angstrom: float) -> ForeignAlignment:
    """The alignment, from what IMOD's programs wrote in their folder."""
    return read_imod(folder / "stack.xf", shape_yx, pixel_size_angstrom)


def residual_px(text: str) -> float | None:
    """Mean residual in unbinned pixels, from what tiltalign prints; None where it does not say."""
    for line in reversed(text.splitlines()):
        words = line.replace(":", " ").split()
        if line.strip().lower().startswith("residual error mean and sd"):
            numbers = [word for word in words if word.replace(".", "", 1).isdigit()]
            return float(numbers[0]) if numbers else None
    return None


@step(
    "imod_align_series",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    gpu="optional",
    methods="Tilt series were aligned by patch tracking with IMOD.",
    figures=(
        *FOREIGN_POSE_FIGURES,
        *SPECIMEN_FIGURES,
        Figure(
            "residual_mean_angstrom",
            "angstrom",
            "Residual, mean",
            "Mean distance between tracked and predicted positions of patches, as tiltalign prints it.",
            good="below a few pixels",
        ),
    ),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"axis_deg": axis_deg, "rotation": 0},
    programs=(TILTXCORR, XFTOXG, NEWSTACK, IMODCHOPCONTS, TILTALIGN, XFPRODUCT),
    calls=calls,
    beside="align_series",
)
def imod_align_series(series: TiltSeries, params: ImodAlignSeriesParams, context: StepContext) -> TiltSeries:
    """Align the tilts in use by patch tracking with IMOD."""
    folder, stack = context.scratch(), chosen_stack(series, params.images)
    used = written(series, stack, folder / "stack.mrc", least=5)
    given = params.model_copy(update={"images": "unweighted"})
    printed = make_calls(calls(used, given, workplace_of(context)), params, context)
    found = with_foreign_poses(
        used,
        parse(folder, stack.shape_yx, stack.pixel_size_angstrom),
        context,
        program="IMOD",
        step="imod_align_series",
        centre_specimen=params.centre_specimen,
    )
    residual = residual_px(printed[5].text)
    context.figure(
        "residual_mean_angstrom",
        None if residual is None else residual * stack.pixel_size_angstrom,
        reason="tiltalign printed no residual",
    )
    return with_results(series, found)
