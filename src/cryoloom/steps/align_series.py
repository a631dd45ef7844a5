"""Align a tilt series: how the specimen stood in every image, from gold beads or from the images themselves.

The axis is sought over half a turn and a told one believed only if the images agree; the images are placed by
stretched correlation on a wide canvas. Then gold beads, found by a matched filter and joined by a running
solution; or, where there are none that hold, projection matching: every image against the projection of a
reconstruction without it, then patches against the same, and compact features of the specimen at their own
depth. A robust bundle adjustment (Tukey weights) gives points, shifts, tilt axis and, by option, more. What
was tried is compared by the error of the poses from two halves of the tracks.

Fiducials that were tracked elsewhere (IMOD's NAME.fid) can be given instead: the same adjustment solves them.

With ``local`` a smooth displacement of every image is solved for besides (ice that bends, a lens that
distorts), and kept only where it predicts tracks that were left out better than none.

Stretch and skew, which a pose does not know, become a displacement of the image too. What all views share of
them is another specimen and cannot be seen, so there is no choice of one for the series.

A tilt without evidence says so: it is warned of, recorded and, by option, excluded.

Origin: x = y = 0 lies at the centre of the least tilted image, z = 0 in the middle of the specimen, which is
looked for as `estimate_slab` does; without ``centre_specimen``, or where it is not found, at the mean height
of the tracked points. The defocus, which is measured of the specimen, is given at that origin.
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
    WHOLE_COVERAGE,
    Alignment,
    Matched,
    align_by_beads,
    align_by_features,
    align_by_patches,
    choose_alignment,
    disagreements,
    match_images,
    with_axis_of,
)
from cryoloom.algorithms.alignment.cross_validation import left_out_errors
from cryoloom.algorithms.alignment.first_alignment import FirstAlignment, align_first
from cryoloom.algorithms.alignment.local_alignment import LocalChoice, find_local_alignment
from cryoloom.algorithms.alignment.specimen_middle import bytes_to_find_specimen
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom, Variation
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.specimen_frame import with_defocus_of_specimen
from cryoloom.algorithms.series.tilt_images import TiltImages, load_tilt_images
from cryoloom.algorithms.series.tilt_offset import fit_transmission
from cryoloom.algorithms.series.tilt_quality import brightness_ratio
from cryoloom.contract.step import StepContext, StepParams, step
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
from cryoloom.procedures.specimen_origin import SPECIMEN_FIGURES, place_specimen

__all__ = ["AlignSeriesParams", "align_series"]

Array = NDArray[np.float64]

BLACK = 0.1  # of the light the other images let expect: nothing of the specimen is seen


class AlignSeriesParams(StepParams):
    """What a user may choose."""

    method: Literal["auto", "beads", "patches", "no_markers"] = Field(
        "auto",
        description="beads: gold; patches: a grid of patches, with the axis that compact features tell where "
        "there are any; no_markers: projection matching, then patches or compact features, whichever is "
        "better; auto: beads where they hold, else no_markers.",
    )
    tilt_axis_deg: float | None = Field(
        None, description="Start of the tilt axis; without it what metadata tell, else found by a search."
    )
    working_pixel_angstrom: float = Field(
        11.0, gt=0, description="Images are binned by a whole factor to about this size for tracking."
    )
    bead_diameter_angstrom: float | None = Field(
        None, gt=0, description="Diameter of the gold beads; without it measured."
    )
    patch_angstrom: float = Field(700.0, gt=0, description="Side of a tracked patch.")
    patch_overlap: float = Field(0.5, ge=0, lt=0.95, description="Overlap of neighbouring patches, fraction.")
    fiducials: Path | None = Field(
        None,
        description="Folder with IMOD's fiducial models (NAME.fid; NAME.rawtlt and NAME.prexg beside): their "
        "tracks are solved, and method finds none.",
    )
    fiducials_prealigned: bool = Field(
        True, description="The models were made on the prealigned stack (eTomo); else on the raw one."
    )
    max_shift_fraction: float = Field(
        0.3, gt=0, le=0.5, description="Largest shift between images searched for, fraction of the field."
    )
    axis: Variation = Field("one", description="Tilt axis: fixed, one, grouped (five tilts) or per_view.")
    tilt: Variation = Field("fixed", description="Tilt angles: fixed, grouped or per_view.")
    magnification: Variation = Field("fixed", description="Magnification: fixed, grouped or per_view.")
    x_tilt: Variation = Field("fixed", description="Tilt about x: fixed, grouped or per_view.")
    stretch: Literal["fixed", "grouped", "per_view"] = Field(
        "fixed", description="Stretch of the specimen across the tilt axis, from view to view."
    )
    skew: Literal["fixed", "grouped", "per_view"] = Field(
        "fixed", description="Angle between the specimen's axes, from view to view."
    )
    beam_tilt: Literal["fixed", "one"] = Field(
        "fixed", description="Angle by which the beam misses the perpendicular to the tilt axis."
    )
    local: bool = Field(
        False,
        description="Also solve for a smooth displacement of each image; kept only where tracks that were "
        "left out are reprojected better by it.",
    )
    cross_validate: bool = Field(
        True, description="Also measure the error of points left out of the adjustment."
    )
    exclude_unaligned: bool = Field(
        False, description="Exclude tilts in which nothing could be tracked, instead of only naming them."
    )
    centre_specimen: bool = Field(
        True,
        description="Put z = 0 into the middle of the specimen; else it stays at the mean height of what was "
        "tracked. The defocus follows either way.",
    )
    apply_tilt_offset: bool = Field(
        False, description="Turn the specimen flat by the measured tilt offset; else it is only measured."
    )


def _bytes_needed(series: TiltSeries, params: AlignSeriesParams) -> int:
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    binning = max(1, round(params.working_pixel_angstrom / stack.pixel_size_angstrom))
    working = len(series.tilts) * n_y * n_x // binning**2
    beside = 300_000_000 if params.local else 0  # normal equations of all displacements
    search = bytes_to_find_specimen(stack.shape_yx, stack.pixel_size_angstrom)
    return 200_000_000 + 24 * n_y * n_x + 24 * working + max(beside, search)


def _outside(name: str, params: AlignSeriesParams) -> dict[str, str]:
    return {} if params.fiducials is None else fiducial_digests(params.fiducials, name)


@step(
    "align_series",
    version=5,
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
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
    """Find tilt axis, shifts and by option more of all images of a series."""
    series = with_defocus_of_specimen(series)  # by the poses it may have had
    stack = series.best_stack
    usable = np.array([not t.is_excluded and t.section is not None for t in series.tilts])
    tilt_deg = np.array([t.nominal_tilt_deg for t in series.tilts]) + (series.tilt_offset_deg.applied or 0.0)
    _check(series, usable, tilt_deg)
    tracks = None
    if params.fiducials is not None:
        tracks = read_tracks(series, params.fiducials, usable, prealigned=params.fiducials_prealigned)
    context.progress(0, 5)
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, params.working_pixel_angstrom, device=context.device
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
        tried, matched = _tried(images, start, usable, params, context.rng)
    best = choose_alignment(tried, usable, images.pixel_size_angstrom)
    if best is None:
        raise DataUnfitError(_NOTHING_HELD[params.method], series=series.name)
    if params.method == "auto" and best.method != "beads" and tried[0].method == "beads":
        part = 100 * tried[0].placed_part(usable)
        context.warn(
            f"gold beads could be tracked in {part:.0f} % of the tilts only, or not closely enough; the "
            f"series is aligned by {best.method}"
        )
    _compare(best, tried, usable, images.pixel_size_angstrom, context)
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
    aligned = place_specimen(aligned, images, places, context, by=by, centre=params.centre_specimen)
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


def _check(series: TiltSeries, usable: NDArray[np.bool_], tilt_deg: Array) -> None:
    if usable.sum() < LEAST_TILTS or np.ptp(tilt_deg[usable]) < 10.0:
        raise DataUnfitError(
            f"too few tilts for alignment: expected at least {LEAST_TILTS} over at least 10 degrees; "
            "include tilts again or skip the series",
            series=series.name,
            n_tilts=int(usable.sum()),
        )


def _in_order_of_tilts(images: TiltImages, series: TiltSeries) -> TiltImages:
    """Images in the order of ``series.tilts``; a tilt without a section gets a blank."""
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
    """Axis and shifts by correlation; says so where the images speak against the told axis."""
    told = params.tilt_axis_deg if params.tilt_axis_deg is not None else series.tilt_axis_deg.applied
    first = align_first(images, tilt_deg, usable, told, max_shift_fraction=params.max_shift_fraction)
    if first.told_is_refuted and told is not None:
        context.warn(
            f"the tilt axis told, {told:.1f} degrees, does not explain the images; they agree with "
            f"{first.coarse.axis_deg:.1f} degrees, or with that turned by 180, which images cannot tell"
        )
    return first


_NOTHING_HELD = {
    "beads": "fewer than 5 gold beads could be tracked through the series; give bead_diameter_angstrom or "
    "use method=no_markers",
    "patches": "no patch could be followed through the series; look at its images",
    "no_markers": "nothing of the specimen could be followed through the series; look at its images",
    "auto": "neither beads nor anything of the specimen could be followed; look at the series' images",
}


def _tried(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    rng: np.random.Generator,
) -> tuple[list[Alignment], Matched | None]:
    """Every way that the method asks for and the data bear, and what projection matching gave."""
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
    matched = match_images(images, start, usable, rng)
    patches = align_by_patches(
        images,
        matched,
        usable,
        free,
        patch_angstrom=params.patch_angstrom,
        spacing_angstrom=params.patch_angstrom * (1 - params.patch_overlap),
    )
    if params.method == "patches":
        if patches is not None and free.axis == "one":
            features = align_by_features(images, patches.solution.geometry, usable, free)
            if features is not None:
                patches = with_axis_of(features, patches, images, matched.plane, usable, free)
        return [] if patches is None else [patches], matched
    first = matched.geometry if patches is None else patches.solution.geometry
    features = align_by_features(images, first, usable, free)
    tried = [one for one in (*tried, patches, features) if one is not None]
    if params.method == "auto" and tried and tried[0].method == "beads":
        # Beads that were lost on the way are found from where the images themselves say.
        nearer = (features or patches or tried[0]).solution.geometry
        again = align_by_beads(images, nearer, usable, free, params.bead_diameter_angstrom, doubted=True)
        tried += [] if again is None else [again]
    return tried, matched


def _is_enough(beads: Alignment, images: TiltImages, usable: NDArray[np.bool_]) -> bool:
    """Whether beads are sure, and place nearly all tilts: then nothing else is tried."""
    return beads.is_sure(images.pixel_size_angstrom) and beads.placed_part(usable) >= WHOLE_COVERAGE


def _compare(
    best: Alignment,
    tried: list[Alignment],
    usable: NDArray[np.bool_],
    pixel_size_angstrom: float,
    context: StepContext,
) -> None:
    """Warn where another way gave other poses: then one of the two, or both, followed something else."""
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
    """The solution with the local one in its place, where that predicts better, and its displacements."""
    if choice is None or choice.local is None:
        return best, [None] * best.tracks.n_views
    return replace(best, solution=choice.local.solution), choice.local.warps


def _seen(images: TiltImages, tilt_deg: Array, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Images that show anything: neither constant nor all but black beside the others."""
    seen = images.deviation > 1e-6 * max(float(np.abs(images.mean).max()), 1e-12)
    if usable.sum() > 8 and np.median(images.mean[usable]) > 0:
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
    """The offset measured by the light that passes and by the specimen's plane; applied only if asked."""
    nominal = np.array([t.nominal_tilt_deg for t in series.tilts])
    light = fit_transmission(images.mean, nominal, usable)
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
