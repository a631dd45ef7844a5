"""Align a tilt series: how the specimen stood in every image, from gold beads, its own features or patches.

Coarse alignment by cosine-stretched correlation outwards from the least tilted image; then beads found by a
matched filter and tracked with a running solution, or, where beads do not hold, patches tracked against
their neighbours and, from their solution, compact features of the specimen at their own depth; then a robust
bundle adjustment (Tukey weights) of points, shifts, tilt axis and, by option, tilts and magnifications. A
tilt without evidence takes its neighbours' solution and says so.

Origin: x = y = 0 lies at the centre of the least tilted image, z = 0 the mean height of the tracked points.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cryoloom.algorithms.bead_tracking import BeadTracking, bead_maps, measure_bead_diameter, track_beads
from cryoloom.algorithms.bundle_adjustment import BundleSolution, Freedom, Tracks, Variation, left_out_errors
from cryoloom.algorithms.coarse_alignment import CoarseAlignment
from cryoloom.algorithms.feature_tracking import FeatureTracking, track_features
from cryoloom.algorithms.first_alignment import FirstAlignment, align_first
from cryoloom.algorithms.patch_tracking import PatchTracking, track_patches
from cryoloom.algorithms.series_geometry import SeriesGeometry
from cryoloom.algorithms.tilt_images import TiltImages, load_tilt_images
from cryoloom.errors import DataUnfitError
from cryoloom.model import Pose, TiltSeries
from cryoloom.steps.declaration import StepContext, StepParams, step

__all__ = ["AlignSeriesParams", "align_series"]

Array = NDArray[np.float64]

LEAST_TILTS = 5
LEAST_BEADS = 5
LEAST_FEATURES = 15
LEAST_POINTS_IN_A_TILT = 3
LEAST_COVERAGE = 0.7  # part of the tilts that must have that many points
# True beads fit to 0.1 pixel here and to 0.4 on grainy series; particles taken for beads to 0.6.
SURE_BEAD_RESIDUAL_PIXELS = 0.25
BEAD_RESIDUAL_PIXELS = 0.5
BEAD_RESIDUAL_DIAMETERS = 0.2
# Maxima at random within a feature's search radius would lie 3 pixels off in the mean.
FEATURE_RESIDUAL_PIXELS = 1.0


class AlignSeriesParams(StepParams):
    """What a user may choose."""

    method: Literal["auto", "beads", "features", "patches"] = Field(
        "auto",
        description="What is tracked; auto takes gold beads where they hold, else compact features of the "
        "specimen, else patches.",
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
    patch_overlap: float = Field(
        0.65, ge=0, lt=0.95, description="Overlap of neighbouring patches, fraction."
    )
    max_shift_fraction: float = Field(
        0.3, gt=0, le=0.5, description="Largest shift between images searched for, fraction of the field."
    )
    axis: Variation = Field("one", description="Tilt axis: fixed, one, grouped (five tilts) or per_view.")
    tilt: Variation = Field("fixed", description="Tilt angles: fixed, grouped or per_view.")
    magnification: Variation = Field("fixed", description="Magnification: fixed, grouped or per_view.")
    cross_validate: bool = Field(
        False, description="Also measure the error of points left out of the adjustment (takes longer)."
    )


def _bytes_needed(series: TiltSeries, params: AlignSeriesParams) -> int:
    stack = series.best_stack
    n_y, n_x = stack.shape_yx
    binning = max(1, round(params.working_pixel_angstrom / stack.pixel_size_angstrom))
    working = len(series.tilts) * n_y * n_x // binning**2
    return 200_000_000 + 24 * n_y * n_x + 24 * working


@step(
    "align_series",
    per="tilt_series",
    needs=TiltSeries,
    gives=TiltSeries,
    bytes_needed=_bytes_needed,
    gpu="optional",
    citations=(
        "Guckenberger, Ultramicroscopy 9, 167 (1982)",
        "Kremer, Mastronarde & McIntosh, J. Struct. Biol. 116, 71 (1996), doi:10.1006/jsbi.1996.0013",
    ),
    methods=(
        "Tilt series were aligned by robust bundle adjustment of tracked features[ ({method})][; "
        "the mean residual was {residual_mean_angstrom:.2f} Å]."
    ),
)
def align_series(series: TiltSeries, params: AlignSeriesParams, context: StepContext) -> TiltSeries:
    """Find tilt axis, shifts and by option tilts and magnifications of all images of a series."""
    stack = series.best_stack
    usable = np.array([not t.is_excluded and t.section is not None for t in series.tilts])
    tilt_deg = np.array([t.nominal_tilt_deg for t in series.tilts]) + (series.tilt_offset_deg.applied or 0.0)
    _check(series, usable, tilt_deg)
    context.progress(0, 4)
    images = load_tilt_images(
        stack.images, stack.pixel_size_angstrom, params.working_pixel_angstrom, device=context.device
    )
    images = _in_order_of_tilts(images, series)
    usable &= images.deviation > 1e-6 * max(float(np.abs(images.mean).max()), 1e-12)
    context.progress(1, 4)
    first = _first(series, images, tilt_deg, usable, params, context)
    coarse = first.coarse
    context.progress(2, 4)
    start = SeriesGeometry.start(tilt_deg, coarse.axis_deg, coarse.shift_xy_angstrom)
    freedom = Freedom(params.axis, params.tilt, magnification=params.magnification)
    tracks, solution, method = _tracked(images, start, usable, freedom, params, context)
    context.progress(3, 4)
    aligned = _with_poses(series, tracks, solution, coarse, usable, params, context, method)
    _report(aligned, tracks, solution, context)
    if params.cross_validate:
        error = left_out_errors(tracks, start, freedom)
        context.figure("left_out_error_angstrom", float(np.nanmedian(error)))
    context.progress(4, 4)
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


def _tracked(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    freedom: Freedom,
    params: AlignSeriesParams,
    context: StepContext,
) -> tuple[Tracks, BundleSolution, str]:
    """Sure beads; else the better of doubtful beads and features; else patches."""
    beads = _beads(images, start, usable, freedom, params) if params.method in ("auto", "beads") else None
    sure = SURE_BEAD_RESIDUAL_PIXELS * images.pixel_size_angstrom
    if beads is not None:
        context.figure("bead_diameter_angstrom", beads.diameter_angstrom)
        if params.method == "beads" or beads.solution.mean_residual_angstrom(beads.tracks) < sure:
            return beads.tracks, beads.solution, "beads"
    if params.method != "patches":
        features = _features(images, start, usable, freedom, params, beads)
        if features is not None:
            return features.tracks, features.solution, "features"
        if beads is not None:
            return beads.tracks, beads.solution, "beads"
    spacing = params.patch_angstrom * (1 - params.patch_overlap)
    patches = _patches(images, start, usable, freedom, params, spacing, n_rounds=4)
    return patches.tracks, patches.solution, "patches"


def _beads(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    freedom: Freedom,
    params: AlignSeriesParams,
) -> BeadTracking | None:
    """Tracks of beads if they hold; an error where beads were asked for and do not."""
    least = int(np.argmin(np.where(usable, np.abs(start.tilt_deg), np.inf)))
    diameter = params.bead_diameter_angstrom or measure_bead_diameter(images, least)
    beads = track_beads(bead_maps(images, diameter), start, usable, freedom)
    limit = BEAD_RESIDUAL_DIAMETERS * diameter
    if params.method == "auto":
        limit = min(limit, BEAD_RESIDUAL_PIXELS * images.pixel_size_angstrom)
    if beads is not None and _holds(beads.tracks, beads.solution, usable, LEAST_BEADS, limit):
        return beads
    if params.method == "beads":
        raise DataUnfitError(
            f"fewer than {LEAST_BEADS} gold beads could be tracked through the series; "
            "give bead_diameter_angstrom or use method=features",
            n_beads=0 if beads is None else beads.tracks.n_points,
            bead_diameter_angstrom=round(diameter, 1),
        )
    return None


def _features(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    freedom: Freedom,
    params: AlignSeriesParams,
    beads: BeadTracking | None,
) -> FeatureTracking | None:
    """Tracks of features, found about doubtful beads or a few patches, if they hold and fit better."""
    limit = FEATURE_RESIDUAL_PIXELS * images.pixel_size_angstrom
    if beads is not None:
        first = beads.solution.geometry
        limit = min(limit, beads.solution.mean_residual_angstrom(beads.tracks))
    else:
        first = _patches(
            images, start, usable, Freedom(), params, params.patch_angstrom / 2, n_rounds=1
        ).solution.geometry
    features = track_features(images, first, usable, freedom)
    if features is not None and _holds(features.tracks, features.solution, usable, LEAST_FEATURES, limit):
        return features
    if params.method == "features":
        raise DataUnfitError(
            f"fewer than {LEAST_FEATURES} compact features could be followed through the series; "
            "use method=patches",
            n_features=0 if features is None else features.tracks.n_points,
        )
    return None


def _holds(
    tracks: Tracks,
    solution: BundleSolution,
    usable: NDArray[np.bool_],
    least_points: int,
    residual_limit_angstrom: float,
) -> bool:
    """Whether enough points fit well enough, and most tilts have a number of them that can tell a pose."""
    counts = solution.point_residuals_angstrom(tracks)[1]
    points = int((counts >= 4).sum())
    in_views = solution.view_residuals_angstrom(tracks)[1][usable]
    covered = float((in_views >= LEAST_POINTS_IN_A_TILT).mean())
    fits = solution.mean_residual_angstrom(tracks) < residual_limit_angstrom
    return points >= least_points and covered >= LEAST_COVERAGE and fits


def _patches(
    images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    freedom: Freedom,
    params: AlignSeriesParams,
    spacing_angstrom: float,
    n_rounds: int,
) -> PatchTracking:
    """Patches followed through the series; an error where none can be."""
    patches = track_patches(
        images,
        start,
        usable,
        freedom,
        patch_angstrom=params.patch_angstrom,
        spacing_angstrom=spacing_angstrom,
        n_rounds=n_rounds,
    )
    if patches.tracks.n_points < 4 or len(np.unique(patches.tracks.view)) < LEAST_TILTS:
        raise DataUnfitError("no patch could be followed through the series; look at its images")
    return patches


def _with_poses(
    series: TiltSeries,
    tracks: Tracks,
    solution: BundleSolution,
    coarse: CoarseAlignment,
    usable: NDArray[np.bool_],
    params: AlignSeriesParams,
    context: StepContext,
    method: str,
) -> TiltSeries:
    """The series with a pose on every tilt; those without evidence follow their neighbours."""
    residual, n_points = solution.view_residuals_angstrom(tracks)
    evident = usable & (n_points >= LEAST_POINTS_IN_A_TILT)
    if evident.sum() < LEAST_TILTS:
        raise DataUnfitError(
            f"only {int(evident.sum())} tilts could be aligned, expected at least {LEAST_TILTS}; "
            "look at the series' images",
            series=series.name,
        )
    geometry = _origin_at_field_centre(_filled(solution.geometry, coarse, evident, usable), evident)
    lost = [t.acquisition_index for t, e, u in zip(series.tilts, evident, usable, strict=True) if u and not e]
    if lost:
        context.warn(
            f"nothing could be tracked in the tilts of acquisition index {lost}; their poses are guesses "
            "from their neighbours: consider excluding them"
        )
    changes = {
        tilt.acquisition_index: {
            "pose": Pose(
                axis_deg=float(geometry.axis_deg[i]),
                tilt_deg=float(geometry.tilt_deg[i]),
                x_tilt_deg=float(geometry.x_tilt_deg[i]),
                shift_xy_angstrom=(
                    float(geometry.shift_xy_angstrom[i, 0]),
                    float(geometry.shift_xy_angstrom[i, 1]),
                ),
                magnification=float(geometry.magnification[i]),
                residual_angstrom=float(residual[i]) if evident[i] else None,
                predicted=not bool(evident[i]),
            )
        }
        for i, tilt in enumerate(series.tilts)
    }
    axis = float(np.mean(geometry.axis_deg[evident]))
    measured = series.tilt_axis_deg.with_measured(axis, f"align_series by {method}", apply=True)
    return replace(series.with_tilts(changes), tilt_axis_deg=measured)


def _filled(
    geometry: SeriesGeometry, coarse: CoarseAlignment, evident: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> SeriesGeometry:
    """Views without evidence: coarse shift plus the neighbours' correction, other values interpolated."""
    order = np.arange(geometry.n_views)
    correction = geometry.shift_xy_angstrom - coarse.shift_xy_angstrom
    shift = geometry.shift_xy_angstrom.copy()
    for k in range(2):
        placed = np.interp(order, order[evident], shift[evident, k])
        near = coarse.shift_xy_angstrom[:, k] + np.interp(order, order[evident], correction[evident, k])
        shift[~evident, k] = np.where(usable, near, placed)[~evident]

    def along(values: Array) -> Array:
        return np.where(evident, values, np.interp(order, order[evident], values[evident]))

    return replace(
        geometry,
        shift_xy_angstrom=shift,
        axis_deg=along(geometry.axis_deg),
        magnification=along(geometry.magnification),
    )


def _origin_at_field_centre(geometry: SeriesGeometry, evident: NDArray[np.bool_]) -> SeriesGeometry:
    """Move the origin in its plane so that it is seen at the centre of the least tilted image."""
    least = int(np.argmin(np.where(evident, np.abs(geometry.tilt_deg), np.inf)))
    in_plane = geometry.matrices[least, :2, :2]
    offset = np.linalg.solve(in_plane, -geometry.shift_xy_angstrom[least])
    return geometry.with_origin_moved(np.array([offset[0], offset[1], 0.0]))


def _report(series: TiltSeries, tracks: Tracks, solution: BundleSolution, context: StepContext) -> None:
    """Figures and the table of residuals."""
    residual, counts = solution.view_residuals_angstrom(tracks)
    n_tracks = int((solution.point_residuals_angstrom(tracks)[1] > 0).sum())
    context.figure("residual_mean_angstrom", solution.mean_residual_angstrom(tracks))
    context.figure("tilt_axis_deg", float(series.tilt_axis_deg.applied or 0.0))
    context.figure("n_tracks", n_tracks)
    context.figure("n_predicted", sum(t.pose is not None and t.pose.predicted for t in series.included))
    context.record(
        "alignment",
        {
            "acquisition_index": [t.acquisition_index for t in series.tilts],
            "residual_angstrom": [float(r) if np.isfinite(r) else None for r in residual],
            "n_points": [int(c) for c in counts],
            "method": series.tilt_axis_deg.measured_by,
        },
    )
