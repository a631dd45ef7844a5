"""Align a series by gold beads with IMOD: autofidseed finds them, beadtrack follows them, tiltalign solves.

As eTomo does it: coarse shifts place the images, seeds are picked on one surface or two, and both autofidseed
and beadtrack read one command file. Diameters are in angstrom here and in binned pixels there.
"""

from __future__ import annotations

from pydantic import BaseModel

from cryoloom.contract.program import Call, Workplace, arguments_of, option, option_of, text_of
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
    solution_calls,
)
from cryoloom.programs.imod.imod_programs import (
    AUTOFIDSEED,
    BEADTRACK,
    NEWSTACK,
    TILTALIGN,
    TILTXCORR,
    XFPRODUCT,
    XFTOXG,
)
from cryoloom.programs.included_tilts import chosen_stack

__all__ = ["ImodAlignByBeadsParams", "calls", "imod_align_by_beads"]

_OF_SEEDS = ("n_beads", "least_spacing", "adjust_size", "peak_fraction", "two_surfaces", "elongated")


class ImodAlignByBeadsParams(ImodAlignmentParams):
    """Options of autofidseed, beadtrack and tiltalign; the defaults are eTomo's for cryo series."""

    bead_diameter_angstrom: float = option(
        "BeadDiameter", 100.0, gt=0, kind="computed", description="beadtrack: diameter of the beads."
    )
    n_beads: int = option(
        "-TargetNumberOfBeads", 25, ge=1, description="autofidseed: beads that are to be found."
    )
    two_surfaces: bool = option(
        "-TwoSurfaces", False, kind="flag", description="autofidseed: pick beads on both surfaces evenly."
    )
    least_spacing: float = option(
        "-MinSpacing", 0.85, gt=0, description="autofidseed: least distance of beads, in diameters."
    )
    adjust_size: bool = option(
        "-AdjustSizes", True, kind="flag", description="autofidseed: measure the diameter, and use that."
    )
    peak_fraction: float = option(
        "-PeakStorageFraction", 1.0, gt=0, description="autofidseed: part of the peaks that are kept."
    )
    elongated: int | None = option(
        "-ElongatedPointsAllowed", None, ge=1, le=3, description="autofidseed: also take elongated beads."
    )
    light_beads: bool = option(
        "LightBeads", False, kind="flag", description="beadtrack: the beads are brighter than the rest."
    )
    fill_gaps: bool = option("FillGaps", True, kind="flag", description="beadtrack: fill gaps of tracks.")
    max_gap: int = option("MaxGapSize", 5, ge=1, description="beadtrack: longest gap, in views.")
    rounds: int = option("RoundsOfTracking", 2, ge=1, description="beadtrack: rounds of tracking.")
    track_tilt_group: int = option("TiltDefaultGrouping", 7, ge=1, description="beadtrack: tilts in a group.")
    track_magnification_group: int = option(
        "MagDefaultGrouping", 5, ge=1, description="beadtrack: magnifications in a group."
    )
    track_rotation_group: int = option(
        "RotDefaultGrouping", 1, ge=1, description="beadtrack: rotations in a group."
    )
    least_views: int = option(
        "MinViewsForTiltalign", 4, ge=2, description="beadtrack: views needed for its own solution."
    )
    range_for_axis_deg: float = option(
        "MinTiltRangeToFindAxis", 10.0, gt=0, description="beadtrack: tilt range from which it fits the axis."
    )
    range_for_angles_deg: float = option(
        "MinTiltRangeToFindAngles", 20.0, gt=0, description="beadtrack: range from which it fits tilts."
    )
    box_diameters: float = option(
        "BoxSizeXandY", 3.3, gt=1, kind="computed", description="beadtrack: box of a bead, in diameters."
    )
    local_areas: bool = option(
        "LocalAreaTracking", True, kind="flag", description="beadtrack: track in areas, each by itself."
    )
    area_px: int = option("LocalAreaTargetSize", 1000, ge=100, description="beadtrack: size of an area.")
    area_beads: int = option("MinBeadsInArea", 8, ge=1, description="beadtrack: beads in an area at least.")
    area_overlap: int = option(
        "MinOverlapBeads", 5, ge=0, description="beadtrack: beads that areas share at least."
    )
    beads_to_average: int = option(
        "MaxBeadsToAverage", 4, ge=1, description="beadtrack: images of a bead averaged at most."
    )
    sobel_centring: bool = option(
        "SobelFilterCentering", True, kind="flag", description="beadtrack: centre by the bead's edge."
    )
    sobel_sigma: float | None = option(
        "ScalableSigmaForSobel", 0.12, gt=0,
        description="beadtrack: smoothing before that, in diameters (IMOD 4.10 or later).",
    )  # fmt: skip
    lowpass_per_nm: float | None = option(
        "LowPassCutoffInverseNm", 0.3, gt=0, description="beadtrack: low-pass (IMOD 4.10 or later)."
    )
    scaled_from_px: float | None = option(
        "MinDiamForParamScaling", 12.5, gt=0,
        description="beadtrack: distances scale with beads larger than this (IMOD 4.10 or later).",
    )  # fmt: skip
    points_to_fit: tuple[int, int] = option(
        "PointsToFitMaxAndMin", (7, 3), kind="comma", description="beadtrack: points of a local fit."
    )
    density_rescue: tuple[float, float] = option(
        "DensityRescueFractionAndSD", (0.6, 1.0), kind="comma", description="beadtrack: rescue by density."
    )
    distance_rescue_px: float = option(
        "DistanceRescueCriterion", 10.0, gt=0, description="beadtrack: rescue by distance."
    )
    rescue_relaxation: tuple[float, float] = option(
        "RescueRelaxationDensityAndDistance", (0.7, 0.9), kind="comma", description="beadtrack: relaxation."
    )
    post_fit_residual_px: float = option(
        "PostFitRescueResidual", 2.5, gt=0, description="beadtrack: residual of a rescue after the fit."
    )
    post_fit_relaxation: float = option(
        "DensityRelaxationPostFit", 0.9, gt=0, description="beadtrack: relaxation after the fit."
    )
    max_rescue_px: float = option(
        "MaxRescueDistance", 2.5, gt=0, description="beadtrack: largest distance of a rescue."
    )
    residuals_to_analyze: tuple[int, int] = option(
        "ResidualsToAnalyzeMaxAndMin", (9, 5), kind="comma", description="beadtrack: residuals looked at."
    )
    deletion: tuple[float, float] = option(
        "DeletionCriterionMinAndSD", (0.04, 2.0), kind="comma", description="beadtrack: what is deleted."
    )


def calls(series: TiltSeries, params: ImodAlignByBeadsParams, workplace: Workplace) -> tuple[Call, ...]:
    """The chain of programs, for a series of the tilts in use."""
    entries = _track_entries(series, params)
    return (
        *coarse_calls(series, params),
        Call(
            program=AUTOFIDSEED,
            arguments=("-TrackCommandFile", "track.com", *arguments_of(params, only=_OF_SEEDS)),
            files={"track.com": f"$beadtrack -StandardInput\n{entries}"},
            writes=("stack.seed",),
        ),
        Call(
            program=BEADTRACK,
            arguments=("-ParameterFile", "track.txt"),
            files={"track.txt": entries},
            writes=("stack.fid",),
        ),
        *solution_calls(series, params),
    )


def _track_entries(series: TiltSeries, params: ImodAlignByBeadsParams) -> str:
    """Lines of the command file that autofidseed and beadtrack read."""
    stack = chosen_stack(series, params.images)
    binned = stack.pixel_size_angstrom * params.binning
    diameter = params.bead_diameter_angstrom / binned
    box = 2 * max(8, round(params.box_diameters * diameter / 2 + 2))
    lines = {
        "ImageFile": "stack.preali",
        "PrealignTransformFile": "stack.prexg",
        "ImagesAreBinned": str(params.binning),
        "InputSeedModel": "stack.seed",
        "OutputModel": "stack.fid",
        "RotationAngle": axis_arguments(series, params)[1],
        "TiltFile": "stack.rawtlt",
        "BeadDiameter": f"{diameter:.3f}",
        "BoxSizeXandY": f"{box},{box}",
    }
    if params.lowpass_per_nm is not None:
        lines["PixelSize"] = f"{binned / 10:.5f}"
    return "".join(f"{name} {value}".rstrip() + "\n" for name, value in (lines | _own(params)).items())


def _own(params: BaseModel) -> dict[str, str]:
    """Entries of a command file that are parameters as they stand: those named without a dash."""
    entries = {}
    for name, declared in type(params).model_fields.items():
        entry, kind = option_of(declared)
        value = getattr(params, name)
        if not entry or entry.startswith("-") or kind == "computed" or value is None:
            continue
        if kind == "flag":
            if value:
                entries[entry] = "1"
            continue
        entries[entry] = ",".join(text_of(value))
    return entries


@step(
    "imod_align_by_beads",
    version=2,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=lambda series, params: bytes_to_place_poses(series),
    gpu="optional",
    methods="Tilt series were aligned by gold beads with IMOD.",
    figures=(*FOREIGN_POSE_FIGURES, *SPECIMEN_FIGURES, RESIDUAL_FIGURE),
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"axis_deg": axis_deg, "rotation": 0},
    programs=(TILTXCORR, XFTOXG, NEWSTACK, AUTOFIDSEED, BEADTRACK, TILTALIGN, XFPRODUCT),
    calls=calls,
    beside="align_series",
)
def imod_align_by_beads(
    series: TiltSeries, params: ImodAlignByBeadsParams, context: StepContext
) -> TiltSeries:
    """Align the tilts in use by gold beads with IMOD."""
    return align_by_chain(series, params, calls, context, "imod_align_by_beads")
