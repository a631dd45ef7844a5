"""Align a tilt series: the pose of the specimen in every image, from gold beads or from the images.

The tilt axis is searched over half a turn; a nominal axis is used only if the images agree with it. Images
are first placed by cosine-stretched correlation on a wide canvas. Gold beads are found by a matched filter
and tracked with a running solution. Without usable beads, projection matching follows: each image is compared
with the projection of a reconstruction made without it; then patches, and compact features at their own
depth, are tracked the same way. A robust bundle adjustment (Tukey weights) solves for points, shifts, tilt
axis and optional parameters. Methods are compared by the difference of the poses from two halves of the
tracks.

Fiducials tracked by another program (IMOD's NAME.fid) can be given; the same adjustment solves them.

``local`` also solves for a smooth displacement of every image (deforming ice, lens distortion). It is used
only if it predicts left-out tracks better than the rigid solution.

Stretch and skew are not part of a pose; they become a displacement of the image. A stretch or skew common to
all tilts is indistinguishable from another specimen, so it cannot be solved for.

Tilts without tracks are reported, recorded and, by option, excluded.

Origin: x = y = 0 is at the centre of the least tilted image, z = 0 in the middle of the specimen, which is
searched for as in `estimate_slab`; without ``centre_specimen``, or if it is not found, z = 0 is the mean
height of the tracked points. The defocus, measured on the specimen, is given at that origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.alignment.alignment_methods import (
    LEAST_REDUNDANCY,
    WHOLE_COVERAGE,
    Alignment,
    Matched,
    align_by_beads,
    align_by_features,
    align_by_patches,
    checked_by_features,
    choose_alignment,
    disagreements,
    match_images,
    with_axis_of,
)
from cryoloom.algorithms.alignment.axis_search import agreed_axis, common_line_of
from cryoloom.algorithms.alignment.cross_validation import left_out_errors
from cryoloom.algorithms.alignment.first_alignment import FirstAlignment, align_first
from cryoloom.algorithms.alignment.local_alignment import LocalChoice, find_local_alignment
from cryoloom.algorithms.alignment.specimen_middle import bytes_to_find_specimen, thickness_by_transmission
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom, Variation
from cryoloom.algorithms.series.derived_pixels import reading_bytes
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.specimen_frame import with_defocus_of_specimen
from cryoloom.algorithms.series.tilt_images import TiltImages, WorkingImages, load_tilt_images
from cryoloom.algorithms.series.tilt_offset import fit_transmission
from cryoloom.algorithms.series.tilt_quality import brightness_ratio, counts_from_zero
from cryoloom.contract.step import StepContext, StepParams, step
from cryoloom.contract.usual_time import UsualTime
from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.tracks import fiducial_digests
from cryoloom.model import ImageWarp, TiltSeries
from cryoloom.procedures.aligned_poses import LEAST_TILTS, with_poses
from cryoloom.procedures.alignment_records import (
    ALIGNMENT_FIGURES,
    ALIGNMENT_RECORDS,
    record_alignment,
    record_axis,
    record_local,
    record_offset,
    record_residuals,
)
from cryoloom.procedures.fiducial_tracks import align_by_fiducials, read_tracks
from cryoloom.procedures.prepared_images import PreparedImages
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES, place_specimen

__all__ = ["AlignSeriesParams", "align_series"]

Array = NDArray[np.float64]

#: Chosen: error of the poses above which detail of 130 to 600 A is blurred in height.
LARGEST_ERROR_ANGSTROM = 15.0
#: Chosen: error of the axis assumed if the axes of the metadata and of the common line agree.
AGREED_ERROR_DEG = 0.4
#: Chosen: brightness over that expected from the other images; below it the specimen is not visible.
BLACK = 0.1
_LEAST_RANGE_DEG = 10.0
"""Chosen: over a smaller range of tilts no depth can be measured."""
_ENOUGH_FOR_BRIGHTNESS = 8
"""Chosen: the usual course of brightness is known from more tilts than this."""


class AlignSeriesParams(StepParams):
    """Parameters of the alignment."""

    method: Literal["auto", "beads", "patches", "no_markers"] = Field(
        "auto",
        description="beads: gold beads. patches: a grid of patches, with the axis from compact features if "
        "there are any. no_markers: projection matching, then patches or compact features, whichever is "
        "better. auto: beads if they can be tracked, otherwise no_markers.",
    )
    tilt_axis_deg: float | None = Field(
        None, description="Start of the tilt axis. Unset: from the metadata, or by a search."
    )
    working_pixel_angstrom: float = Field(
        11.0, gt=0, description="Images are binned by a whole factor to about this pixel size for tracking."
    )
    bead_diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the gold beads. Unset: measured."
    )
    patch_angstrom: float = Field(700.0, gt=0, description="Side of a tracked patch.")
    patch_overlap: float = Field(
        0.5, ge=0, lt=0.95, description="Overlap of neighbouring patches, as a fraction of their side."
    )
    fiducials: Path | None = Field(
        None,
        description="Folder with IMOD's fiducial models (NAME.fid, with NAME.rawtlt and NAME.prexg). Their "
        "tracks are used; method is ignored.",
    )
    fiducials_prealigned: bool = Field(
        True, description="The models refer to the prealigned stack (eTomo); otherwise to the raw stack."
    )
    max_shift_fraction: float = Field(
        0.3, gt=0, le=0.5, description="Largest shift between images, as a fraction of the field."
    )
    axis: Variation = Field("one", description="Tilt axis: fixed, one, grouped (five tilts) or per_view.")
    tilt: Variation = Field("fixed", description="Tilt angles: fixed, grouped or per_view.")
    magnification: Variation = Field("fixed", description="Magnification: fixed, grouped or per_view.")
    x_tilt: Variation = Field("fixed", description="Tilt about x: fixed, grouped or per_view.")
    stretch: Literal["fixed", "grouped", "per_view"] = Field(
        "fixed", description="Stretch of the specimen across the tilt axis: fixed, grouped or per_view."
    )
    skew: Literal["fixed", "grouped", "per_view"] = Field(
        "fixed", description="Change of the angle between the specimen's axes: fixed, grouped or per_view."
    )
    beam_tilt: Literal["fixed", "one"] = Field(
        "fixed",
        description="Deviation of the beam from the perpendicular to the tilt axis: fixed at 0, or one "
        "angle for the series.",
    )
    local: bool = Field(
        False,
        description="Also solve for a smooth displacement of each image; used only if it predicts left-out "
        "tracks better.",
    )
    cross_validate: bool = Field(
        True, description="Also measure the error of points left out of the adjustment."
    )
    exclude_unaligned: bool = Field(
        False,
        description="Exclude all tilts in which nothing could be tracked; otherwise those whose interpolated "
        "poses are known to be more than 30 A off.",
    )
    centre_specimen: bool = Field(
        True,
        description="Put z = 0 in the middle of the specimen; otherwise at the mean height of the tracked "
        "points. The defocus is adjusted in both cases.",
    )
    apply_tilt_offset: bool = Field(
        False, description="Apply the measured tilt offset to the poses; otherwise it is only measured."
    )


def _bytes_needed(series: TiltSeries, params: AlignSeriesParams) -> int:
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    binning = max(1, round(params.working_pixel_angstrom / stack.pixel_size_angstrom))
    working = len(series.tilts) * n_y * n_x // binning**2
    beside = 300_000_000 if params.local else 0  # normal equations of all displacements
    search = bytes_to_find_specimen(stack.shape_yx, stack.pixel_size_angstrom)
    reading = reading_bytes(stack.images)
    return 200_000_000 + 24 * n_y * n_x + 24 * working + max(beside, search) + reading


def _outside(name: str, params: AlignSeriesParams) -> dict[str, str]:
    return {} if params.fiducials is None else fiducial_digests(params.fiducials, name)


def _load_ahead(series: TiltSeries, params: AlignSeriesParams, context: StepContext) -> TiltSeries:
    """Working images of the tilts that exist; they are aligned together."""
    prepared, working = _prepared(series, params, context)
    prepared.prepare([tilt.section for tilt in series.tilts if tilt.section is not None], working.of)
    return series


@step(
    "align_series",
    version=12,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    usual_time=UsualTime(15.0, 38.0),
    ahead=_load_ahead,
    gpu="optional",
    outside=_outside,
    citations=(
        "Guckenberger, Ultramicroscopy 9, 167 (1982)",
        "Kremer, Mastronarde & McIntosh, J. Struct. Biol. 116, 71 (1996), doi:10.1006/jsbi.1996.0013",
    ),
    methods=(
        "Tilt series were aligned by robust bundle adjustment of tracked features[ ({method})][; "
        "the mean residual was {residual_mean_angstrom:.2f} Å]."
    ),
    figures=(*ALIGNMENT_FIGURES, *SPECIMEN_FIGURES),
    records=ALIGNMENT_RECORDS,
    source_of=("poses",),
    hold_axis=lambda axis_deg: {"tilt_axis_deg": round(axis_deg, 3), "axis": "fixed"},
)
def align_series(series: TiltSeries, params: AlignSeriesParams, context: StepContext) -> TiltSeries:
    """Solve for tilt axis, shifts and optional parameters of all images of a series."""
    series = with_defocus_of_specimen(series)  # the defocus may refer to the origin of earlier poses
    stack = series.best_stack
    usable = np.array([not t.is_excluded and t.section is not None for t in series.tilts])
    tilt_deg = np.array([t.nominal_tilt_deg for t in series.tilts]) + (series.tilt_offset_deg.applied or 0.0)
    _check(series, usable, tilt_deg)
    tracks = None
    if params.fiducials is not None:
        tracks = read_tracks(series, params.fiducials, usable, prealigned=params.fiducials_prealigned)
    context.progress(0, 5)
    images = load_tilt_images(
        stack.images,
        stack.pixel_size_angstrom,
        params.working_pixel_angstrom,
        device=context.device,
        prepared=_prepared(series, params, context)[0],
    )
    images = _in_order_of_tilts(images, series)
    usable &= _seen(images, tilt_deg, usable)
    _check(series, usable, tilt_deg)
    context.progress(1, 5)
    first = _first(series, images, tilt_deg, usable, params, context)
    context.progress(2, 5)
    start = SeriesGeometry.start(tilt_deg, first.coarse.axis_deg, first.coarse.shift_xy_angstrom)
    if tracks is not None:
        tried, matched = [align_by_fiducials(tracks, start, _degrees_of_freedom(params))], None
    else:
        nominal_deg = _nominal_axis(series, params)
        tried, matched = _tried(images, start, usable, params, context.rng, nominal_deg)
    best = choose_alignment(tried, usable, images.pixel_size_angstrom)
    if best is None:
        raise DataUnfitError(_NOTHING_HELD[params.method], series=series.name)
    if params.method == "auto" and best.method != "beads" and tried[0].method == "beads":
        part = 100 * tried[0].placed_part(usable)
        context.warn(
            f"gold beads could be tracked in only {part:.0f} % of the tilts, or not accurately enough; the "
            f"series is aligned by {best.method}"
        )
    _compare(best, tried, usable, images.pixel_size_angstrom, context)
    if not best.holds_together:
        few = best.method != "beads" and best.redundancy < LEAST_REDUNDANCY
        context.warn(_NOT_TOGETHER["few" if few else "beads" if best.method == "beads" else "images"])
    elif doubt := _doubt(best):
        context.warn(
            f"{doubt}; the {best.tracks.n_points} tracks do not determine them better. Detail of that size "
            "is blurred in the tomogram"
        )
    context.progress(3, 5)
    choice = _local(series, best, params) if params.local else None
    best, warps = _with_displacements(best, choice)
    aligned = with_poses(
        series,
        best,
        warps,
        first.coarse,
        usable,
        context,
        step="align_series",
        exclude_unaligned=params.exclude_unaligned,
    )
    aligned = _with_tilt_offset(aligned, images, matched, usable, params, context)
    by = f"align_series by {best.method}"
    places = [None if tilt.section is None else i for i, tilt in enumerate(series.tilts)]
    aligned = place_specimen(
        aligned, images, places, context, by=by, centre=params.centre_specimen, doubt=_doubt(best)
    )
    middle = None if aligned.slab is None else aligned.slab.z_offset_angstrom.measured
    placed = [replace(tilt, section=at) for tilt, at in zip(aligned.tilts, places, strict=True)]
    ice = thickness_by_transmission(replace(aligned, tilts=tuple(placed)), images)
    best = best.at_height(middle, _degrees_of_freedom(params), ice)
    context.progress(4, 5)
    errors = None
    if choice is not None:
        record_local(series, choice, context)
        errors = choice.rigid_error_angstrom if choice.local is None else choice.error_angstrom
    elif params.cross_validate:
        errors = left_out_errors(best.tracks, start, _degrees_of_freedom(params))
    record_alignment(aligned, best, tried, errors, context)
    record_residuals(aligned, best, context)
    record_axis(aligned, images, first, best, usable, context)
    context.progress(5, 5)
    return aligned


def _prepared(
    series: TiltSeries, params: AlignSeriesParams, context: StepContext
) -> tuple[PreparedImages, WorkingImages]:
    """Working images that were prepared, and how they are made."""
    stack = series.best_stack
    working = WorkingImages(
        stack.images, stack.pixel_size_angstrom, params.working_pixel_angstrom, device=context.device
    )
    return PreparedImages(context, series, stack, "working image", *working.settings), working


def _check(series: TiltSeries, usable: NDArray[np.bool_], tilt_deg: Array) -> None:
    if usable.sum() < LEAST_TILTS or np.ptp(tilt_deg[usable]) < _LEAST_RANGE_DEG:
        raise DataUnfitError(
            f"too few tilts for alignment: expected at least {LEAST_TILTS} over at least 10 degrees; "
            "include tilts again or skip the series",
            series=series.name,
            n_tilts=int(usable.sum()),
        )


def _in_order_of_tilts(images: TiltImages, series: TiltSeries) -> TiltImages:
    """Images in the order of ``series.tilts``; a tilt without a section gets a blank image."""
    sections = np.array([-1 if t.section is None else t.section for t in series.tilts])
    if np.array_equal(sections, np.arange(len(images.mean))):
        return images
    pixels = images.images[np.maximum(sections, 0)].clone()
    pixels[sections < 0] = 0
    blank = sections < 0
    return TiltImages(
        pixels,
        images.pixel_size_angstrom,
        np.where(blank, 0.0, images.mean[sections]),
        np.where(blank, 0.0, images.deviation[sections]),
    )


def _first(
    series: TiltSeries,
    images: TiltImages,
    tilt_deg: Array,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    context: StepContext,
) -> FirstAlignment:
    """Axis and shifts by correlation; warns if the images contradict the nominal axis."""
    nominal_deg = _nominal_axis(series, params)
    first = align_first(
        images,
        tilt_deg,
        usable,
        nominal_deg,
        max_shift_fraction=params.max_shift_fraction,
        hold_axis=params.axis == "fixed",
    )
    if first.nominal_is_refuted and nominal_deg is not None:
        found = first.circle.best_deg if params.axis == "fixed" else first.coarse.axis_deg
        context.warn(
            f"the nominal tilt axis, {nominal_deg:.1f} degrees, does not explain the images; they agree with "
            f"{found:.1f} degrees, or with the opposite direction (180 degrees), which images cannot "
            "distinguish"
        )
    return first


_NOTHING_HELD = {
    "beads": "fewer than 5 gold beads could be tracked through the series; give bead_diameter_angstrom or "
    "use method=no_markers",
    "patches": "no patch could be tracked through the series; check its images",
    "no_markers": "no feature of the specimen could be tracked through the series; check its images",
    "auto": "neither beads nor features of the specimen could be tracked; check the series' images",
}


_NOT_TOGETHER = {
    "beads": "the beads do not hold the series together: most of them are lost in many tilts, so parts of "
    "the series may follow different beads. Use method=no_markers, and look at the tomogram",
    "few": "too few tracks hold the series together: many different poses fit them, so the poses of a part "
    "of the series may be wrong. Look at the tomogram, and exclude tilts that jump",
    "images": "the images do not hold the series together: features of the specimen do not continue through "
    "it, so the poses of a part of it may be wrong. Look at the tomogram, and exclude tilts that jump",
}


def _doubt(best: Alignment) -> str:
    """Why the specimen's place in a tomogram made with these poses may be wrong; "" if it is reliable."""
    error = best.reported_error_angstrom
    if not best.holds_together:
        return "the poses of a part of the series may be wrong"
    if LARGEST_ERROR_ANGSTROM < error < np.inf:
        return f"the poses have an error of {error:.0f} A, expected {LARGEST_ERROR_ANGSTROM:.0f} A or less"
    return ""


def _tried(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    rng: np.random.Generator,
    nominal_deg: float | None,
) -> tuple[list[Alignment], Matched | None]:
    """Alignments by every applicable method, and the result of projection matching.

    If the nominal axis and the common line of the images agree, matching starts with that axis. Patches
    without compact features then keep it fixed: they determine the axis to one degree at best.
    """
    free = _degrees_of_freedom(params)
    tried: list[Alignment] = []
    if params.method in ("auto", "beads"):
        beads = align_by_beads(
            images,
            start,
            usable,
            free,
            params.bead_diameter_angstrom,
            doubted=params.method == "auto",
        )
        if beads is not None:
            tried.append(beads)
        if params.method == "beads":
            return tried, None
        if beads is not None and _is_enough(beads, images, usable):
            return tried, None
    agreed_deg = None
    if free.axis == "one":
        agreed_deg = agreed_axis(nominal_deg, common_line_of(images, start, usable).best_deg)
    if agreed_deg is not None:
        start = start.with_axis_turned(agreed_deg - start.mean_axis_deg)
    matched = match_images(images, start, usable, rng, hold_axis=free.axis == "fixed")
    patches = _patches(images, matched, usable, params)
    if params.method == "patches":
        if patches is not None and free.axis == "one":
            features = align_by_features(images, patches.solution.geometry, usable, free)
            if features is not None:
                patches = with_axis_of(features, patches, images, matched.plane, usable, free)
        return [] if patches is None else [checked_by_features(patches, images, usable)], matched
    first = matched.geometry if patches is None else patches.solution.geometry
    features = align_by_features(images, first, usable, free)
    if features is None and agreed_deg is not None and patches is not None and free.axis == "one":
        patches = _patches(
            images, matched.turned_to(agreed_deg), usable, params, axis_error_deg=AGREED_ERROR_DEG
        )
    tried += [checked_by_features(one, images, usable) for one in (patches, features) if one is not None]
    if params.method == "auto" and tried and tried[0].method == "beads":
        # Lost beads are searched again, starting from the geometry found from the images.
        nearer = (features or patches or tried[0]).solution.geometry
        again = align_by_beads(images, nearer, usable, free, params.bead_diameter_angstrom, doubted=True)
        tried += [] if again is None else [again]
    return tried, matched


def _patches(
    images: TiltImages,
    matched: Matched,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    *,
    axis_error_deg: float | None = None,
) -> Alignment | None:
    """Settings of the patches. axis_error_deg : the axis is fixed, with this error."""
    free = _degrees_of_freedom(params)
    return align_by_patches(
        images,
        matched,
        usable,
        free if axis_error_deg is None else replace(free, axis="fixed"),
        patch_angstrom=params.patch_angstrom,
        spacing_angstrom=params.patch_angstrom * (1 - params.patch_overlap),
        axis_error_deg=axis_error_deg,
    )


def _nominal_axis(series: TiltSeries, params: AlignSeriesParams) -> float | None:
    """The nominal tilt axis: from the parameters, or from the metadata."""
    return params.tilt_axis_deg if params.tilt_axis_deg is not None else series.tilt_axis_deg.applied


def _is_enough(beads: Alignment, images: TiltImages, usable: NDArray[np.bool_]) -> bool:
    """Whether the beads are reliable and place nearly all tilts, so that no other method is tried."""
    return beads.is_sure(images.pixel_size_angstrom) and beads.placed_part(usable) >= WHOLE_COVERAGE


def _compare(
    best: Alignment,
    tried: list[Alignment],
    usable: NDArray[np.bool_],
    pixel_size_angstrom: float,
    context: StepContext,
) -> None:
    """Warn if another method gave different poses: then at least one of the two tracked something else."""
    for method, distance in disagreements(best, tried, usable, pixel_size_angstrom).items():
        context.warn(
            f"{best.method} and {method} disagree: their poses differ by {distance:.0f} angstrom; the "
            f"series is aligned by {best.method}. Look at the tomogram"
        )


def _degrees_of_freedom(params: AlignSeriesParams) -> DegreesOfFreedom:
    return DegreesOfFreedom(
        params.axis,
        params.tilt,
        x_tilt=params.x_tilt,
        magnification=params.magnification,
        stretch=params.stretch,
        skew=params.skew,
        beam_tilt=params.beam_tilt,
    )


def _local(series: TiltSeries, best: Alignment, params: AlignSeriesParams) -> LocalChoice:
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    return find_local_alignment(
        best.tracks,
        best.solution,
        _degrees_of_freedom(params),
        (n_x * stack.pixel_size_angstrom, n_y * stack.pixel_size_angstrom),
        [tilt.acquisition_index for tilt in series.tilts],
    )


def _with_displacements(
    best: Alignment, choice: LocalChoice | None
) -> tuple[Alignment, Sequence[ImageWarp | None]]:
    """The local solution and its displacements if it predicts better, otherwise the rigid solution."""
    if choice is None or choice.local is None:
        return best, [None] * best.tracks.n_views
    return replace(best, solution=choice.local.solution), choice.local.warps


def _seen(images: TiltImages, tilt_deg: Array, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Images with visible contrast: neither constant nor almost black relative to the others."""
    seen = images.deviation > 1e-6 * max(float(np.abs(images.mean).max()), 1e-12)
    counts = counts_from_zero(images.mean[usable], images.deviation[usable])
    if counts and usable.sum() > _ENOUGH_FOR_BRIGHTNESS:
        illuminated = np.ones(len(usable), dtype=bool)
        illuminated[usable] = brightness_ratio(np.maximum(images.mean[usable], 0), tilt_deg[usable]) > BLACK
        seen &= illuminated
    return seen


def _with_tilt_offset(
    series: TiltSeries,
    images: TiltImages,
    matched: Matched | None,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    context: StepContext,
) -> TiltSeries:
    """Tilt offset by transmission and by the specimen's plane; applied only if requested."""
    nominal = np.array([t.nominal_tilt_deg for t in series.tilts])
    counts = counts_from_zero(images.mean[usable], images.deviation[usable])
    light = fit_transmission(images.mean, nominal, usable) if counts else None
    before = series.tilt_offset_deg.applied or 0.0
    slope_deg = None if matched is None else matched.slope_deg
    plane_deg = None if slope_deg is None else before - slope_deg
    record_offset(light, plane_deg, context)
    if light is None and plane_deg is None:
        return series
    by = "transmission" if light is not None else "specimen plane"
    measured = light.offset_deg if light is not None else float(plane_deg or 0.0)
    offset = series.tilt_offset_deg.with_measured(
        measured, f"align_series by {by}", apply=params.apply_tilt_offset
    )
    if params.apply_tilt_offset:
        change = measured - before
        series = series.with_tilts(
            {
                t.acquisition_index: {"pose": replace(t.pose, tilt_deg=t.pose.tilt_deg + change)}
                for t in series.tilts
                if t.pose is not None
            }
        )
    return replace(series, tilt_offset_deg=offset)
