"""The alignment methods, and the choice among them.

Beads if they can be tracked; otherwise the images themselves: projection matching, patches against the
reprojections of the other images and, if the specimen has any, compact features at their own depth. Results
are compared by the error of the poses from two halves of the tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bead_tracking import BeadTracking, track_beads
from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import pose_distances, pose_errors
from cryoloom.algorithms.alignment.feature_tracking import error_of_halves, track_features
from cryoloom.algorithms.alignment.focus import drift_error, focus_finely, focus_series, sharpness
from cryoloom.algorithms.alignment.patch_tracking import track_patches
from cryoloom.algorithms.alignment.pose_uncertainty import (
    AXIS_ERROR_DEG,
    axis_error_of_tracks,
    errors_at_height,
    reported_errors,
)
from cryoloom.algorithms.alignment.projection_matching import match_projections
from cryoloom.algorithms.alignment.series_continuity import posed_apart, series_continuity
from cryoloom.algorithms.alignment.track_coverage import LEAST_WEIGHT, followed_part, least_in_common
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.bead_maps import bead_maps, measure_bead_diameter
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, shrink_images
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness
from cryoloom.algorithms.specimen.specimen_plane import find_plane

__all__ = [
    "WHOLE_COVERAGE",
    "Alignment",
    "Matched",
    "align_by_beads",
    "align_by_features",
    "align_by_patches",
    "checked_by_features",
    "choose_alignment",
    "disagreements",
    "match_images",
    "with_axis_of",
]

Array = NDArray[np.float64]

LEAST_BEADS = 5  # chosen: of four, one false bead leaves three, which fit any geometry of two views
LEAST_FEATURES = 15  # chosen: three times as many, since features are located less exactly than beads
LEAST_POINTS_IN_A_TILT = 3  # two points give a shift and a rotation, the third confirms them
LEAST_BEADS_IN_A_TILT = 2  # where only its shift is unknown: the second confirms the first
#: Chosen: fraction of the tilts that must have that many points; tilts at the ends may lack them.
LEAST_COVERAGE = 0.7
#: Chosen: below this fraction another method is tried as well; of 41 tilts two may lack points.
WHOLE_COVERAGE = 0.95
#: Correctly tracked beads are found in 0.75 to 0.95 of the tilts that should show them. If the halves of a
#: series follow different beads, they are found in 0.4 to 0.5, or no bead is in both halves.
LEAST_FOLLOWED = 0.6
#: Beads seen on both sides of a place: a single one could be another bead of the same height.
LEAST_IN_COMMON = 2
#: Agreement of features between tilts on both sides of a place, over that between interleaved tilts. The
#: lowest is 0.61 on EMPIAR-10499 and 0.8 to 0.9 on simulated series; at jumps of the poses it is 0.2 to 0.4.
LEAST_CONTINUITY = 0.55
#: Particles mistaken for beads fit to 0.6 pixel, true beads to 0.1, and to 0.4 on noisy series. For all kinds
#: of tracks: if both halves give the same poses, no other method is better. The error is chosen, a little
#: below the residual.
SURE_RESIDUAL_PIXELS = 0.25
SURE_POSE_ERROR_PIXELS = 0.2
BEAD_RESIDUAL_PIXELS = 0.5
"""Chosen between the two residuals above: tracks that doubt themselves must fit this well to be used at
all."""
#: Height of the matched filter at gold: 15 on EMPIAR-10499, 26 on simulated series; at false beads 6. On
#: EMPIAR-10499 gold on both surfaces, which move relative to each other, fits to 0.53 pixel.
GOLD_SIGNIFICANCE, GOLD_RESIDUAL_PIXELS = 10.0, 0.8
BEAD_RESIDUAL_DIAMETERS = 0.2
"""Chosen: beads overlap beyond it, so a larger residual means that neighbours are exchanged."""
#: Chosen: random maxima within a feature's search radius are 3 pixels off on average.
FEATURE_RESIDUAL_PIXELS = 1.0
MOST_SEARCHES = 3
"""For features, each about the axis of the one before; in tests the axis held to 0.1 degrees."""
#: Features found with an axis this far off left an error of up to 0.2 degrees, with a nearer one 0.06.
FAR_OFF_AXIS_DEG = 0.25
SAME_AXIS_DEG = 0.05  # below the 0.06 degrees by which features about a near axis are off
MATCHING_REACH_ANGSTROM = 250.0  # chosen: twice the 120 A that the tests of coarse alignment allow
MATCHING_PIXEL_ANGSTROM = 22.0  # chosen: an eighth as many voxels as with 11; later ones are finer
# Error of the poses that is common to both halves of the tracks, from the truth of simulated series
# (`benchmarks/alignment_accuracy.py`): beads and features are off by 1 A, patches by 3 to 9.
SHARED_ERROR_ANGSTROM = {"beads": 1.0, "features": 1.0, "patches": 5.0}
DISAGREEMENT_PIXELS = 4.0
"""Chosen: rms distance of the poses of two ways, in pixels of alignment, from which they do not agree."""
LEAST_REDUNDANCY = 2.0
"""Least redundancy of tracks in images: with less, a solution fits them whatever they follow.

Patches of a random session with 13 tilts and a gap of 28 degrees had 1.6, a residual of 7 A and poses 550 A
off; 12 points in all of five tilts have
2.6."""
REFOCUS_REACH_ANGSTROM = 100.0
FOCUS_REACH_DEG, REFOCUS_REACH_DEG = 2.0, 1.0
"""Chosen: moves and turns of the axis tried by focus, as large as smooth drifts were on EMPIAR-10499 and on
four simulated series. A longer reach costs time; drifts beyond a shorter one stay."""
PATCH_DRIFT_REACH_ANGSTROM = 40.0
"""Chosen: patches have corrected larger drifts before focus is used again."""
#: Chosen: shorter side of the images from which the specimen's plane is found; larger ones cost time.
PLANE_PIXELS = 112
#: Chosen: standard deviations to which they are clipped; otherwise streaks of gold fill the empty space.
PLANE_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """Tracks and solution of one method.

    halves_error_angstrom : (n_views,), from two halves of the tracks, by which methods are chosen.
    pose_error_angstrom : (n_views,), with what the halves share, as it is reported.
    least_points : in a view, for a pose of its own.
    holds_together : False where parts of the series may follow different points, each consistent in itself.
    """

    method: str
    tracks: Tracks
    solution: BundleSolution
    halves_error_angstrom: Array
    pose_error_angstrom: Array
    bead_diameter_angstrom: float | None = None
    least_points: int = LEAST_POINTS_IN_A_TILT
    holds_together: bool = True

    @classmethod
    def of(
        cls,
        method: str,
        tracks: Tracks,
        solution: BundleSolution,
        free: DegreesOfFreedom,
        *,
        halves_angstrom: Array | None = None,
        drift_angstrom: Array | float = 0.0,
        axis_error_deg: float | None = None,
        **more: object,
    ) -> Alignment:
        """With the error of its poses measured.

        halves_angstrom : if halves of the tracks were followed apart. drift_angstrom : error of the drift
        that was found without the tracks. axis_error_deg : of an axis that was found without them.
        """
        halves = pose_errors(tracks, solution.geometry, free) if halves_angstrom is None else halves_angstrom
        if axis_error_deg is None and free.axis == "one":
            axis_error_deg = max(AXIS_ERROR_DEG[method], axis_error_of_tracks(tracks, solution))
        solved = free.tilt != "fixed"
        errors = reported_errors(
            method,
            tracks,
            solution,
            halves,
            tilts_are_solved=solved,
            drift_angstrom=drift_angstrom,
            axis_error_deg=axis_error_deg,
        )
        least = _least_points(method, free)
        return cls(method, tracks, solution, halves, errors, least_points=least, **more)  # type: ignore[arg-type]

    def at_height(
        self,
        height_angstrom: float | None,
        free: DegreesOfFreedom,
        ice: TransmittedThickness | None = None,
    ) -> Alignment:
        """With the pose errors of a specimen whose middle is that far above the tracks; None: not found.

        ice : its thickness, for gold on one surface where the middle was not found.
        """
        errors = errors_at_height(
            self.pose_error_angstrom,
            self.method,
            self.tracks,
            self.solution,
            height_angstrom,
            ice=ice,
            tilts_are_solved=free.tilt != "fixed",
            axis_is_solved=free.axis == "one",
        )
        return replace(self, pose_error_angstrom=errors)

    @property
    def typical_error_angstrom(self) -> float:
        """Rms over the views of the errors by halves of the tracks; infinite if they are not known."""
        return _rms(self.halves_error_angstrom)

    @property
    def reported_error_angstrom(self) -> float:
        """Rms over the views of the poses' errors; infinite if they are not known."""
        return _rms(self.pose_error_angstrom)

    def is_sure(self, pixel_size_angstrom: float) -> bool:
        """Whether no other method needs to be tried: a close fit, or the same poses from both halves."""
        if not self.holds_together:
            return False
        residual = self.solution.mean_residual_angstrom(self.tracks)
        fits = residual < SURE_RESIDUAL_PIXELS * pixel_size_angstrom
        return fits or self.typical_error_angstrom < SURE_POSE_ERROR_PIXELS * pixel_size_angstrom

    def placed_part(self, usable: NDArray[np.bool_]) -> float:
        """Part of the usable views with enough tracks for a pose."""
        counts = self.solution.view_residuals_angstrom(self.tracks)[1][usable]
        return float((counts >= self.least_points).mean())

    def distance_angstrom(self, other: Alignment, usable: NDArray[np.bool_]) -> float:
        """Rms distance of the poses of two ways where both have tracks enough; 0 where too few have."""
        known = usable.copy()
        for one in (self, other):
            known &= one.solution.view_residuals_angstrom(one.tracks)[1] >= one.least_points
        geometry = other.solution.geometry
        miss = pose_distances(self.solution.geometry, geometry, self.solution.points_xyz_angstrom, known)
        return float(np.sqrt(np.nanmean(miss**2))) if np.isfinite(miss).any() else 0.0

    @property
    def redundancy(self) -> float:
        """Coordinates that were measured, over those of points and views that they determine."""
        counts = self.solution.robust_weight > LEAST_WEIGHT
        n_views, n_points = (len(np.unique(of[counts])) for of in (self.tracks.view, self.tracks.point))
        return float(2 * counts.sum() / max(2 * n_views + 3 * n_points, 1))

    @property
    def expected_error_angstrom(self) -> float:
        """Pose error including the part common to both halves: methods are compared by it."""
        return float(np.hypot(self.typical_error_angstrom, SHARED_ERROR_ANGSTROM[self.method]))


def _least_points(method: str, free: DegreesOfFreedom) -> int:
    """Points that a view needs for a pose of its own. Gold is certain and sharp; the rest may be a chance."""
    sharp = method in ("beads", "fiducials")
    return LEAST_BEADS_IN_A_TILT if sharp and free.only_shifts_per_view else LEAST_POINTS_IN_A_TILT


def _rms(values: Array) -> float:
    """Of the finite values; infinite where there is none."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else float("inf")


@dataclass(frozen=True, slots=True)
class Matched:
    """Geometry by projection matching, and the plane ``z = a + b x + c y`` of the specimen's middle."""

    geometry: SeriesGeometry
    plane: tuple[float, float, float]
    """All 0 if it could not be found: patches then begin flat."""

    @property
    def slope_deg(self) -> float | None:
        """Of the plane across the tilt axis; None if it could not be found."""
        return math.degrees(math.atan(self.plane[1])) if any(self.plane) else None

    def turned_to(self, axis_deg: float) -> Matched:
        """With another tilt axis."""
        turn_deg = axis_deg - self.geometry.mean_axis_deg
        return replace(self, geometry=self.geometry.with_axis_turned(turn_deg))


def match_images(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    hold_axis: bool = False,
) -> Matched:
    """Shifts by focus and by projection matching, and the specimen's plane, as a start for patches.

    If there is little signal to match, the matched result is less sharp than before and is not used.
    """
    reach_deg, refocus_deg = (0.0, 0.0) if hold_axis else (FOCUS_REACH_DEG, REFOCUS_REACH_DEG)
    coarser = shrink_images(tilt_images, round(tilt_images.field_angstrom / MATCHING_PIXEL_ANGSTROM))
    focused = focus_series(tilt_images, start, usable, axis_reach_deg=reach_deg)
    moved = match_projections(coarser, focused, usable, max_shift_angstrom=MATCHING_REACH_ANGSTROM)
    moved = focus_series(
        tilt_images, moved, usable, reach_angstrom=REFOCUS_REACH_ANGSTROM, axis_reach_deg=refocus_deg
    )
    geometry = max(focused, moved, key=lambda one: sharpness(tilt_images, one, usable))
    clipped = tilt_images.images.clamp(-PLANE_DEVIATIONS, PLANE_DEVIATIONS)
    small = shrink_images(replace(tilt_images, images=clipped), PLANE_PIXELS)
    plane = find_plane(small, geometry, usable, rng)
    return Matched(geometry, plane)


def align_by_beads(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom,
    diameter_angstrom: float | None,
    *,
    doubted: bool,
) -> Alignment | None:
    """Beads, if enough can be tracked.

    doubted : particles may be mistaken for beads, so require a closer fit unless they are as dark as gold.
    """
    least = int(np.argmin(np.where(usable, np.abs(start.tilt_deg), np.inf)))
    diameter = diameter_angstrom or measure_bead_diameter(tilt_images, least, may_be_crowded=True)
    found = track_beads(bead_maps(tilt_images, diameter, may_be_crowded=True), start, usable, free)
    limit = BEAD_RESIDUAL_DIAMETERS * diameter
    if doubted:
        is_gold = found is not None and found.significance >= GOLD_SIGNIFICANCE
        pixels = GOLD_RESIDUAL_PIXELS if is_gold else BEAD_RESIDUAL_PIXELS
        limit = min(limit, pixels * tilt_images.pixel_size_angstrom)
    in_a_tilt = _least_points("beads", free)
    if found is None or not _holds(found.tracks, found.solution, usable, LEAST_BEADS, in_a_tilt, limit):
        return None
    return Alignment.of(
        "beads",
        found.tracks,
        found.solution,
        free,
        bead_diameter_angstrom=diameter,
        holds_together=_hold_together(found, tilt_images, usable),
    )


def _hold_together(beads: BeadTracking, tilt_images: TiltImages, usable: NDArray[np.bool_]) -> bool:
    """Whether beads are seen in most views that should show them, and some on both sides of every view."""
    pixel = tilt_images.pixel_size_angstrom
    n_y, n_x = tilt_images.shape_yx
    margin = 2 * beads.diameter_angstrom
    field = (n_x * pixel - margin, n_y * pixel - margin)
    followed = followed_part(beads.tracks, beads.solution, usable, field)
    common = least_in_common(beads.tracks, beads.solution, usable)
    return followed >= LEAST_FOLLOWED and common >= LEAST_IN_COMMON


def checked_by_features(one: Alignment, tilt_images: TiltImages, usable: NDArray[np.bool_]) -> Alignment:
    """An alignment by images, with the evidence of features of the specimen that are searched again from it.

    A view that does not show what the next ones show has no pose of its own. Whole images are compared as
    well: all gold looks alike, and a feature that continues may be another bead.
    """
    found = series_continuity(tilt_images, one.solution.geometry, usable)
    placed = one.solution.view_residuals_angstrom(one.tracks)[1] >= one.least_points
    apart, in_parts = posed_apart(tilt_images, one.solution.geometry, usable & placed & ~found.unsupported)
    alone = found.unsupported | apart
    if found.least is None:  # too few features to decide; only the tracks can
        holds = one.redundancy >= LEAST_REDUNDANCY
    else:
        holds = not found.least.is_broken(LEAST_CONTINUITY)
    holds &= not in_parts
    weight = np.where(alone[one.tracks.view], 0.0, one.solution.robust_weight)
    return replace(
        one,
        solution=replace(one.solution, robust_weight=weight),
        halves_error_angstrom=np.where(alone, np.nan, one.halves_error_angstrom),
        pose_error_angstrom=np.where(alone, np.nan, one.pose_error_angstrom),
        holds_together=holds,
    )


def align_by_patches(
    tilt_images: TiltImages,
    matched: Matched,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom,
    *,
    patch_angstrom: float,
    spacing_angstrom: float,
    n_rounds: int = 3,
    axis_error_deg: float | None = None,
) -> Alignment | None:
    """Patches about the matched geometry; None if fewer than four can be tracked.

    axis_error_deg : of an axis that is held, as it was found without patches.
    """
    found = track_patches(
        tilt_images,
        matched.geometry,
        usable,
        free,
        plane=matched.plane,
        patch_angstrom=patch_angstrom,
        spacing_angstrom=spacing_angstrom,
        n_rounds=n_rounds,
    )
    if found is None:
        return None
    return _refocused(
        tilt_images, found.tracks, found.solution, matched.plane, usable, free, axis_error_deg=axis_error_deg
    )


def with_axis_of(
    features: Alignment,
    patches: Alignment,
    tilt_images: TiltImages,
    plane: tuple[float, float, float],
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom,
) -> Alignment:
    """Patches solved again with the axis of the features; their own has errors up to 0.9 degrees.

    If both agree the patches are unchanged.
    """
    geometry = patches.solution.geometry
    turn_deg = _turn_deg(geometry, features.solution)
    if abs(turn_deg) < SAME_AXIS_DEG:
        return patches
    held = replace(free, axis="fixed")
    solution = adjust_bundle(patches.tracks, geometry.with_axis_turned(turn_deg), held)
    error_deg = AXIS_ERROR_DEG["features"]
    return _refocused(tilt_images, patches.tracks, solution, plane, usable, held, axis_error_deg=error_deg)


def _refocused(
    tilt_images: TiltImages,
    tracks: Tracks,
    solution: BundleSolution,
    plane: tuple[float, float, float],
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom,
    *,
    axis_error_deg: float | None = None,
) -> Alignment:
    """Patches corrected for the drift over tilts to which they are insensitive, since they follow it."""
    focused = focus_series(
        tilt_images,
        solution.geometry,
        usable,
        plane,
        reach_angstrom=PATCH_DRIFT_REACH_ANGSTROM,
        axis_reach_deg=0.0,
    )
    finely = focus_finely(tilt_images, focused, usable, plane)
    focused, drift_angstrom = finely or (focused, drift_error(tilt_images, focused, usable, plane))
    drift = focused.shift_xy_angstrom - solution.geometry.shift_xy_angstrom
    position = tracks.position_xy_angstrom + drift[tracks.view]
    return Alignment.of(
        "patches",
        replace(tracks, position_xy_angstrom=position),
        replace(solution, geometry=focused),
        free,
        drift_angstrom=drift_angstrom,
        axis_error_deg=axis_error_deg,
    )


def align_by_features(
    tilt_images: TiltImages,
    first: SeriesGeometry,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom,
) -> Alignment | None:
    """Compact features about a first solution, if enough can be tracked.

    With an axis that was far off some are false: then they are searched once more.
    """
    found = track_features(tilt_images, first, usable, free)
    for _ in range(MOST_SEARCHES - 1):
        if found is None or abs(_turn_deg(first, found.solution)) < FAR_OFF_AXIS_DEG:
            break
        first = found.solution.geometry
        found = track_features(tilt_images, first, usable, free) or found
    limit = FEATURE_RESIDUAL_PIXELS * tilt_images.pixel_size_angstrom
    in_a_tilt = _least_points("features", free)
    if found is None or not _holds(found.tracks, found.solution, usable, LEAST_FEATURES, in_a_tilt, limit):
        return None
    halves = error_of_halves(tilt_images, found, usable, free)
    return Alignment.of("features", found.tracks, found.solution, free, halves_angstrom=halves)


def _turn_deg(before: SeriesGeometry, solution: BundleSolution) -> float:
    """Angle by which a solution turned the tilt axis."""
    return solution.geometry.mean_axis_deg - before.mean_axis_deg


def _holds(
    tracks: Tracks,
    solution: BundleSolution,
    usable: NDArray[np.bool_],
    least_points: int,
    least_in_a_tilt: int,
    residual_limit_angstrom: float,
) -> bool:
    """Whether enough points fit well enough, and most tilts have enough of them for a pose."""
    counts = solution.point_residuals_angstrom(tracks)[1]
    points = int((counts >= 4).sum())
    in_views = solution.view_residuals_angstrom(tracks)[1][usable]
    covered = float((in_views >= least_in_a_tilt).mean())
    fits = solution.mean_residual_angstrom(tracks) < residual_limit_angstrom
    return points >= least_points and covered >= LEAST_COVERAGE and fits


def choose_alignment(
    tried: list[Alignment], usable: NDArray[np.bool_], pixel_size_angstrom: float
) -> Alignment | None:
    """The method with the smallest error of poses, by halves of its tracks and known errors of methods.

    Ways that hold the series together and place nearly all tilts come first; but beads that are sure are not
    given up for a way that contradicts them where both see something. None where nothing was tried.
    """
    if len(tried) < 2:
        return tried[0] if tried else None
    best = min(
        tried,
        key=lambda one: (
            not one.holds_together,
            one.placed_part(usable) < WHOLE_COVERAGE,
            one.expected_error_angstrom,
        ),
    )
    sure = [one for one in tried if one.method == "beads" and one.is_sure(pixel_size_angstrom)]
    beads = max(sure, key=lambda one: one.placed_part(usable), default=best)
    limit = DISAGREEMENT_PIXELS * pixel_size_angstrom
    return beads if best.distance_angstrom(beads, usable) > limit else best


def disagreements(
    best: Alignment, tried: list[Alignment], usable: NDArray[np.bool_], pixel_size_angstrom: float
) -> dict[str, float]:
    """Rms distance in angstrom of the poses of each other method that does not agree with the best one.

    Empty for beads that are sure: features and patches have been tried only because beads were lost in some
    of the tilts, and what they follow there may be anything.
    """
    if best.method == "beads" and best.is_sure(pixel_size_angstrom):
        return {}
    limit = max(DISAGREEMENT_PIXELS * pixel_size_angstrom, 3 * best.typical_error_angstrom)
    apart = {one.method: one.distance_angstrom(best, usable) for one in tried if one.method != best.method}
    return {method: distance for method, distance in apart.items() if distance > limit}
