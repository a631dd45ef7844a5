"""Align a series by patch tracking with IMOD: tiltxcorr, xftoxg, newstack, imodchopconts, tiltalign.

The tilts in use are given, in order of section. Coarse shifts place the images, patches are tracked over
them, and tiltalign solves for the geometry, as eTomo does. The transforms become poses
(`formats.imod.alignment`) by acquisition index. Lengths are in angstrom here and in binned pixels there.
"""

from __future__ import annotations

from cryoloom.contract.program import Call, Workplace, arguments_of, option
from cryoloom.contract.step import StepContext, step
from cryoloom.model import TiltSeries
from cryoloom.procedures.foreign_poses import FOREIGN_POSE_FIGURES, bytes_to_place_poses
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES
from cryoloom.programs.imod.alignment_chain import (
    RESIDUAL_FIGURE,
    ImodAlignmentParams,
    align_by_chain,
    axis_arguments,
    coarse_calls,
    filter_arguments,
    solution_calls,
)
from cryoloom.programs.imod.imod_programs import (
    IMODCHOPCONTS,
    NEWSTACK,
    TILTALIGN,
    TILTXCORR,
    XFPRODUCT,
    XFTOXG,
)
from cryoloom.programs.included_tilts import chosen_stack

__all__ = ["ImodAlignSeriesParams", "calls", "imod_align_series"]

_OF_PATCHES = ("patch_overlap", "iterations")
_OF_CHOPPING = ("least_overlap", "piece_length")


class ImodAlignSeriesParams(ImodAlignmentParams):
    """Options of IMOD's programs; the defaults are those of eTomo's patch tracking and the tutorials."""

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


def calls(series: TiltSeries, params: ImodAlignSeriesParams, workplace: Workplace) -> tuple[Call, ...]:
    """The chain of programs, for a series of the tilts in use."""
    binned = chosen_stack(series, params.images).pixel_size_angstrom * params.binning
    patch = max(1, round(params.patch_angstrom / binned))
    border = max(1, round(params.border_angstrom / binned)) if params.border_angstrom else 0
    return (
        *coarse_calls(series, params),
        Call(
            program=TILTXCORR,
            arguments=(
                "-InputFile", "stack.preali", "-OutputFile", "patches.fid", "-TiltFile", "stack.rawtlt",
                *axis_arguments(series, params), *filter_arguments(params),
                "-SizeOfPatchesXandY", f"{patch},{patch}", "-BordersInXandY", f"{border},{border}",
                "-PrealignmentTransformFile", "stack.prexg", "-ImagesAreBinned", str(params.binning),
                *arguments_of(params, only=_OF_PATCHES),
            ),
            writes=("patches.fid",),
        ),
        Call(
            program=IMODCHOPCONTS,
            arguments=(
                "-InputModel", "patches.fid", "-OutputModel", "stack.fid", "-AssignSurfaces",
                *arguments_of(params, only=_OF_CHOPPING),
            ),
            writes=("stack.fid",),
        ),
        *solution_calls(series, params),
    )  # fmt: skip


@step(
    "imod_align_series",
    version=3,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    gpu="optional",
    methods="Tilt series were aligned by patch tracking with IMOD.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES, RESIDUAL_FIGURE),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"axis_deg": axis_deg, "rotation": 0},
    programs=(TILTXCORR, XFTOXG, NEWSTACK, IMODCHOPCONTS, TILTALIGN, XFPRODUCT),
    calls=calls,
    beside="align_series",
)
def imod_align_series(series: TiltSeries, params: ImodAlignSeriesParams, context: StepContext) -> TiltSeries:
    """Align the tilts in use by patch tracking with IMOD."""
    return align_by_chain(series, params, calls, context, "imod_align_series")
