"""Gold beads as fiducials: found in every image by a matched filter, tracked with a running solution.

Beads are detected in every view independently; a view is placed by the offset that explains most of its beads
(`bead_matching`). So errors do not accumulate, and a bead hidden in one view is found again in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bead_matching import PredictedBeads, place_view
from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.bead_maps import (
    LEAST_SIGNIFICANCE,
    BeadMaps,
    bead_candidates,
    positions_of_maxima,
)
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

__all__ = ["BeadTracking", "track_beads"]

Array = NDArray[np.float64]

ORIGIN = np.zeros(2)
"""No correction, which is also tried."""
# Candidates. Heights of gold in one image differ by less than a factor of two; ice and proteins are weaker.
#: Chosen: smallest and largest number of candidates whose median height is that of a bead in this view. With
#: fewer, one bright artefact sets the height; with more, candidates that are not gold lower it.
STRONGEST_CANDIDATES = (3, 12)
#: Chosen: height of a candidate over that of a bead. It is below a half because gold differs by less than
#: two.
LEAST_HEIGHT = 0.4
#: Chosen: candidates in a view. The time of matching grows with the square of this number.
MOST_CANDIDATES = 150
# Growth of the tracks, from tilt to tilt.
#: Chosen: standard deviation of a bead's height before it is measured: half of 1400 A of ice, with gold on
#: both surfaces. With a smaller value the beads of one surface are lost (docs/explanation/alignment.md).
PRIOR_DEPTH_ANGSTROM = 700.0
#: Chosen: standard deviation of a measured position while shifts and axis are not final.
GROWING_DEVIATION_ANGSTROM = 15.0
#: Chosen: placed views whose corrections are tried for the next view; more cost time and repeat each other.
MOST_NEIGHBOURS = 3
#: Chosen: views in which a point must have been seen to vote (fewer if the best quarter has fewer). Two views
#: give the height; the third confirms that it is one bead.
CERTAIN_VIEWS = 3
#: Chosen: beads that are first seen at a steeper tilt have too few remaining views to be tracked.
STEEPEST_NEW_DEG = 46.0
#: Chosen: bounds the time of an adjustment; as many peaks are kept in `bead_positions`.
MOST_BEADS = 400
#: Chosen: views between adjustments. More frequent ones cost time, which grows with the number of views.
READJUSTED_EVERY = 4
#: Chosen: cycles of an intermediate adjustment; only the final adjustments run until they converge.
FAST_CYCLES = 6
#: Points for a solution: three points fit any geometry of two views, so a fourth is the first test.
FEWEST_POINTS = 4
#: Views of a point, for the same reason.
FEWEST_VIEWS = 4
#: Chosen: points in an intermediate adjustment have at least this fraction of the most visible bead's views.
OFTEN = 0.5
# Beads that are kept.
#: Chosen: fraction of the usable views. A bead near the border of the field leaves it at high tilt, so a
#: larger value loses true beads; a smaller one keeps points that are chance maxima.
LEAST_VIEWS_OF_A_BEAD = 0.35
#: Chosen: robust weight below which an observation is an outlier; Tukey's weight is zero at 4.7 deviations.
LEAST_ROBUST_WEIGHT = 0.02
#: Largest residual of an observation in diameters: beyond the radius another bead can be nearer.
LARGEST_RESIDUAL = 0.5
#: Chosen: largest mean residual of a bead over the typical one, or in diameters; the larger limit counts.
LARGEST_MEAN_RESIDUAL = (3.0, 0.1)
#: Chosen: a view is false if it shows less than this fraction of the beads in its field and fits badly as
#: well.
LEAST_SEEN_IN_A_VIEW = 0.5
#: Chosen: mean residual of such a false view over the typical one.
FALSE_RESIDUAL = 3.0
#: Chosen: two points nearer than this in a view, in diameters, are one bead; centres of two beads are a
#: diameter apart unless one lies above the other.
SAME_BEAD = 0.3
#: Chosen: fraction of its views that a point may share with a better one. Beads cross at some tilts; a copy
#: of a bead shares nearly all views.
MOST_SHARED = 0.3
# Beads searched again at their predicted positions.
#: Chosen: radius of the search in diameters; it does not reach the centre of a bead that touches.
SEARCH_REACH = 0.45
#: Chosen: least height in standard deviations of the map, and over the median of the view's beads.
LEAST_RESCUED = (3.5, 0.35)
#: As FEWEST_POINTS.
LEAST_TRACKED_BEADS = 4


@dataclass(frozen=True, slots=True)
class BeadTracking:
    """Tracks of the accepted beads and the solution made from them.

    significance : median height of the matched filter's maps at the tracked places, in their spread.
    """

    tracks: Tracks
    solution: BundleSolution
    diameter_angstrom: float
    significance: float


def track_beads(
    maps: BeadMaps,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom | None = None,
    *,
    n_rounds: int = 3,
) -> BeadTracking | None:
    """Join beads into tracks outwards from the least tilted view; None if fewer than four are tracked.

    start : geometry with coarse shifts; its axis may be several degrees off.
    """
    found = [
        _bright_candidates(maps, view) if usable[view] else np.zeros((0, 2)) for view in range(len(usable))
    ]
    free = free or DegreesOfFreedom()
    geometry, table = _grow(found, start, usable, _searched_field(maps), free.of_first_rounds)
    if table.shape[0] < LEAST_TRACKED_BEADS:
        return None
    for round_ in range(n_rounds):
        tracks = Tracks.from_table(table)
        last = round_ == n_rounds - 1
        solution = adjust_bundle(tracks, geometry, free if last else free.of_first_rounds)
        if last:
            table = _without_false_views(table, tracks, solution, maps)
        table = _cleaned(tracks, solution, table, usable, maps)
        if table.shape[0] < LEAST_TRACKED_BEADS:
            return None
        if not last:
            solution = adjust_bundle(Tracks.from_table(table), solution.geometry, free.of_first_rounds)
            geometry = solution.geometry
            table = _rescued(maps, geometry, solution.points_xyz_angstrom, usable)
    tracks = Tracks.from_table(table)
    solution = adjust_bundle(tracks, geometry, free)
    return BeadTracking(tracks, solution, maps.diameter_angstrom, _significance(maps, tracks))


def _searched_field(maps: BeadMaps) -> Array:
    """Extent ``(2,)`` as xy of the part of an image in which whole beads are found."""
    n_y, n_x = (int(n) for n in maps.maps.shape[1:])
    return np.array([n_x, n_y]) * maps.pixel_size_angstrom - maps.diameter_angstrom


def _significance(maps: BeadMaps, tracks: Tracks) -> float:
    """Median height of the maps at the tracked places."""
    n_y, n_x = (int(n) for n in maps.maps.shape[1:])
    column, row = np.rint(tracks.position_xy_angstrom / maps.pixel_size_angstrom).astype(int).T
    row, column = np.clip(row + n_y // 2, 0, n_y - 1), np.clip(column + n_x // 2, 0, n_x - 1)
    return float(maps.maps[tracks.view, row, column].median())


def _bright_candidates(maps: BeadMaps, view: int) -> Array:
    """Candidates nearly as strong as the view's best ones: beads are alike, ice and proteins are weaker."""
    position, height = bead_candidates(maps, view, LEAST_SIGNIFICANCE)
    if len(height) == 0:
        return position
    strongest = np.sort(height)[::-1]
    fewest, most = STRONGEST_CANDIDATES
    typical = float(np.median(strongest[: max(fewest, min(most, len(strongest)))]))
    order = np.argsort(height)[::-1]
    kept = order[height[order] > LEAST_HEIGHT * typical][:MOST_CANDIDATES]
    return position[kept]


def _grow(
    found: list[Array],
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    field_xy_angstrom: Array,
    free: DegreesOfFreedom,
) -> tuple[SeriesGeometry, Array]:
    """Place views one by one: the geometry, and the table ``(n_beads, n_views, 2)`` with NaN for gaps.

    found : candidates of each view ``(n, 2)`` from the centre of a field of that extent.
    """
    n_views, geometry = start.n_views, start
    order = start.outwards(usable)
    least = order[0] if order else 0
    table = np.full((len(found[least]), n_views, 2), np.nan)
    table[:, least] = found[least]
    placed = [least]
    correction = np.zeros((n_views, 2))
    for count, view in enumerate(order[1:], start=1):
        near = sorted(placed, key=lambda j: abs(start.tilt_deg[view] - start.tilt_deg[j]))[:MOST_NEIGHBOURS]
        correction[view] = correction[near[0]]
        shift = geometry.shift_xy_angstrom.copy()
        shift[view] = start.shift_xy_angstrom[view] + correction[view]
        geometry = replace(geometry, shift_xy_angstrom=shift)
        # Images that show the ice as well as gold far above it may have been placed by either; and a
        # neighbour may have been moved by the stage.
        corrections = np.concatenate([correction[near], [ORIGIN]]) - correction[view]
        beginnings = np.concatenate([corrections, [shift[near[0]] - shift[view]]])
        offset, matched = place_view(
            _predicted(table, geometry, view), found[view], beginnings, field_xy_angstrom
        )
        seen = matched >= 0
        shift[view] += offset
        correction[view] = shift[view] - start.shift_xy_angstrom[view]
        geometry = replace(geometry, shift_xy_angstrom=shift)
        table[seen, view] = found[view][matched[seen]]
        placed.append(view)
        fresh = np.setdiff1d(np.arange(len(found[view])), matched[seen])
        if abs(start.tilt_deg[view]) < STEEPEST_NEW_DEG and len(fresh) and len(table) < MOST_BEADS:
            added = np.full((len(fresh), n_views, 2), np.nan)
            added[:, view] = found[view][fresh]
            table = np.concatenate([table, added])
        if count % READJUSTED_EVERY == 0 or count == len(order) - 1:
            geometry = _readjusted(table, geometry, free)
            correction[placed] = (geometry.shift_xy_angstrom - start.shift_xy_angstrom)[placed]
    seen_often = np.isfinite(table[..., 0]).sum(axis=1) >= max(
        FEWEST_VIEWS, LEAST_VIEWS_OF_A_BEAD * usable.sum()
    )
    return geometry, table[seen_often]


def _predicted(table: Array, geometry: SeriesGeometry, view: int) -> PredictedBeads:
    """Where a view shows the beads found so far: a height that few views constrain is uncertain."""
    seen = np.isfinite(table[..., 0])
    rows = geometry.matrices[:, :2]
    target = np.where(seen[..., None], table - geometry.shift_xy_angstrom, 0.0)
    normal = np.einsum("nv,vai,vaj->nij", seen.astype(float), rows, rows)
    normal += np.diag([1e-9, 1e-9, (GROWING_DEVIATION_ANGSTROM / PRIOR_DEPTH_ANGSTROM) ** 2])
    right = np.einsum("vai,nva->ni", rows, target)
    points = np.linalg.solve(normal, right[..., None])[..., 0]
    spread = rows[view] @ np.linalg.inv(normal) @ rows[view].T + np.eye(2)
    count = seen.sum(axis=1)
    least = max(1, min(CERTAIN_VIEWS, int(np.quantile(count, 0.75)))) if len(count) else 1
    return PredictedBeads(
        geometry.project(points)[view], GROWING_DEVIATION_ANGSTROM**2 * spread, count >= least
    )


def _readjusted(table: Array, geometry: SeriesGeometry, free: DegreesOfFreedom) -> SeriesGeometry:
    """Bundle adjustment of the beads with many observations, once there are enough to determine the axis."""
    often = np.isfinite(table[..., 0]).sum(axis=1)
    enough = often >= max(FEWEST_VIEWS, OFTEN * often.max(initial=0))
    if enough.sum() < FEWEST_POINTS:
        return geometry
    tracks = Tracks.from_table(table[enough])
    solution = adjust_bundle(tracks, geometry, free, max_cycles=FAST_CYCLES)
    return solution.geometry


def _cleaned(
    tracks: Tracks,
    solution: BundleSolution,
    table: Array,
    usable: NDArray[np.bool_],
    maps: BeadMaps,
) -> Array:
    """Without outlying observations and without points that fit badly or are seen rarely."""
    cleaned, diameter_angstrom = table.copy(), maps.diameter_angstrom
    bad = (solution.robust_weight < LEAST_ROBUST_WEIGHT) | (
        solution.residual_angstrom > LARGEST_RESIDUAL * diameter_angstrom
    )
    cleaned[tracks.point[bad], tracks.view[bad]] = np.nan
    count = np.isfinite(cleaned[..., 0]).sum(axis=1)
    residual, _ = solution.point_residuals_angstrom(tracks)
    typical = np.nanmedian(residual)
    over_typical, in_diameters = LARGEST_MEAN_RESIDUAL
    holds = (count >= max(FEWEST_VIEWS, LEAST_VIEWS_OF_A_BEAD * usable.sum())) & (
        residual < max(over_typical * typical, in_diameters * diameter_angstrom)
    )
    kept = _distinct(cleaned, np.where(holds, residual, np.inf), SAME_BEAD * diameter_angstrom)
    return cleaned[kept]


def _without_false_views(table: Array, tracks: Tracks, solution: BundleSolution, maps: BeadMaps) -> Array:
    """Without the views that show few of the beads they should show, and these badly: chance maxima."""
    points = solution.points_xyz_angstrom
    places = solution.geometry.project(points[np.isfinite(points).all(axis=1)])
    expected = (np.abs(places) < _searched_field(maps) / 2).all(axis=2).sum(axis=1)
    residual, count = solution.view_residuals_angstrom(tracks)
    typical = float(np.nanmedian(residual)) if count.any() else 0.0
    false = (count < LEAST_SEEN_IN_A_VIEW * expected) & (residual > FALSE_RESIDUAL * typical)
    kept = table.copy()
    kept[:, false] = np.nan
    return kept


def _distinct(table: Array, residual_angstrom: Array, apart_angstrom: float) -> NDArray[np.int64]:
    """Indices of the points with a finite residual, of those that are one bead only the best.

    Points that are searched again near a bead may all find it. The best is seen most often, and fits best.
    """
    count = np.isfinite(table[..., 0]).sum(axis=1)
    kept: list[int] = []
    for k in np.lexsort((residual_angstrom, -count)):
        near = np.linalg.norm(table[kept] - table[k], axis=2) < apart_angstrom
        if np.isfinite(residual_angstrom[k]) and (near.sum(axis=1) <= MOST_SHARED * count[k]).all():
            kept.append(int(k))
    return np.sort(np.array(kept, dtype=np.int64))


def _rescued(maps: BeadMaps, geometry: SeriesGeometry, points: Array, usable: NDArray[np.bool_]) -> Array:
    """Search every bead at its predicted position: ``(n_beads, n_views, 2)``, the local maxima found."""
    predicted = geometry.project(points)
    n_y, n_x = int(maps.maps.shape[1]), int(maps.maps.shape[2])
    reach = max(2, int(np.ceil(SEARCH_REACH * maps.diameter_angstrom / maps.pixel_size_angstrom)))
    least, over_median = LEAST_RESCUED
    table = np.full((len(points), geometry.n_views, 2), np.nan)
    for view in np.flatnonzero(usable):
        centre = np.array([n_y // 2, n_x // 2])
        index = np.rint(predicted[view][:, ::-1] / maps.pixel_size_angstrom).astype(int) + centre
        fits = (index >= reach + 2).all(axis=1) & (index < np.array([n_y, n_x]) - reach - 2).all(axis=1)
        where = np.flatnonzero(fits)
        if len(where) == 0:
            continue
        cuts = torch.stack(
            [maps.maps[view, y - reach : y + reach + 1, x - reach : x + reach + 1] for y, x in index[where]]
        )
        height, flat = cuts.flatten(1).max(dim=1)
        row, column = flat // (2 * reach + 1), flat % (2 * reach + 1)
        edge = (row == 0) | (column == 0) | (row == 2 * reach) | (column == 2 * reach)
        good = (~edge & (height > max(least, over_median * float(height.median())))).cpu().numpy()
        base = torch.from_numpy(index[where] - reach).to(row)
        positions = positions_of_maxima(maps, int(view), base[:, 0] + row, base[:, 1] + column)
        table[where[good], view] = positions[good]
    return table
