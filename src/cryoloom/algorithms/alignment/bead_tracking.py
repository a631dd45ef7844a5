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
# Candidates. Gold in one image differs by less than two from bead to bead; ice and proteins are weaker.
STRONGEST_CANDIDATES = (3, 12)  # whose median height is that of a bead in this view: at least, at most
LEAST_HEIGHT = 0.4  # of a candidate, over that of a bead
MOST_CANDIDATES = 150  # in a view; pairs of predictions and candidates grow with the square
# Growth of the tracks, from view to view.
PRIOR_DEPTH_ANGSTROM = 700.0  # deviation of a bead's height before it is measured: gold lies on surfaces
GROWING_DEVIATION_ANGSTROM = 15.0  # of a measured position, while shifts are still being found
CERTAIN_VIEWS = 3  # in which a point has been seen that may vote, or as many as the best quarter has
STEEPEST_NEW_DEG = 46.0  # beads first seen at a steeper tilt have too few views left to be tracked
MOST_BEADS = 400
READJUSTED_EVERY = 4  # views; the cost of an adjustment grows with the views
FAST_CYCLES = 6  # of an adjustment on the way: the last ones run until they converge
FEWEST_POINTS = 4  # for a solution: three points fit any geometry of two views
FEWEST_VIEWS = 4  # of a point, for the same reason
OFTEN = 0.5  # of the views of the most visible bead: points that take part in an adjustment on the way
# Beads that are kept.
LEAST_VIEWS_OF_A_BEAD = 0.35  # fraction of the usable views
LEAST_ROBUST_WEIGHT = 0.02  # of an observation
LARGEST_RESIDUAL = 0.5  # of an observation, in diameters: beyond it lies another bead
LARGEST_MEAN_RESIDUAL = (3.0, 0.1)  # of a bead: over the typical one, or in diameters, the larger
# Beads searched again at their predicted positions.
SEARCH_REACH = 0.45  # in diameters: neighbours that touch are not reached
LEAST_RESCUED = (3.5, 0.35)  # height in spreads of the map, or over the median of the view's beads
LEAST_TRACKED_BEADS = 4


@dataclass(frozen=True, slots=True)
class BeadTracking:
    """Tracks of the accepted beads and the solution made from them."""

    tracks: Tracks
    solution: BundleSolution
    diameter_angstrom: float


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
    n_y, n_x = (int(n) for n in maps.maps.shape[1:])
    geometry, table = _grow(found, start, usable, n_y * n_x * maps.pixel_size_angstrom**2)
    if table.shape[0] < LEAST_TRACKED_BEADS:
        return None
    for round_ in range(n_rounds):
        tracks = Tracks.from_table(table)
        last = round_ == n_rounds - 1
        solution = adjust_bundle(
            tracks, geometry, (free or DegreesOfFreedom()) if last else DegreesOfFreedom()
        )
        table = _cleaned(tracks, solution, table, usable, maps.diameter_angstrom)
        if table.shape[0] < LEAST_TRACKED_BEADS:
            return None
        if not last:
            solution = adjust_bundle(Tracks.from_table(table), solution.geometry)
            geometry = solution.geometry
            table = _rescued(maps, geometry, solution.points_xyz_angstrom, usable)
    tracks = Tracks.from_table(table)
    solution = adjust_bundle(tracks, geometry, free)
    return BeadTracking(tracks, solution, maps.diameter_angstrom)


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
    found: list[Array], start: SeriesGeometry, usable: NDArray[np.bool_], field_angstrom2: float
) -> tuple[SeriesGeometry, Array]:
    """Place views one by one: the geometry, and the table ``(n_beads, n_views, 2)`` with NaN for gaps.

    found : candidates of each view ``(n, 2)``, in a field of that area.
    """
    n_views, geometry = start.n_views, start
    least = int(np.argmin(np.where(usable, np.abs(start.tilt_deg), np.inf)))
    order = [
        int(i) for i in np.argsort(np.abs(start.tilt_deg - start.tilt_deg[least]), kind="stable") if usable[i]
    ]
    table = np.full((len(found[least]), n_views, 2), np.nan)
    table[:, least] = found[least]
    placed = [least]
    correction = np.zeros((n_views, 2))
    for count, view in enumerate(order[1:], start=1):
        neighbour = min(placed, key=lambda j: abs(start.tilt_deg[view] - start.tilt_deg[j]))
        correction[view] = correction[neighbour]
        shift = geometry.shift_xy_angstrom.copy()
        shift[view] = start.shift_xy_angstrom[view] + correction[view]
        geometry = replace(geometry, shift_xy_angstrom=shift)
        predicted = _predicted(table, geometry, view)
        # Images that show the ice as well as gold far above it may have been placed by either.
        beginnings = np.stack([ORIGIN, shift[neighbour] - shift[view]])
        offset, matched = place_view(predicted, found[view], beginnings, field_angstrom2)
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
            geometry = _readjusted(table, geometry)
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


def _readjusted(table: Array, geometry: SeriesGeometry) -> SeriesGeometry:
    """Bundle adjustment of the beads with many observations, once there are enough to determine the axis."""
    often = np.isfinite(table[..., 0]).sum(axis=1)
    enough = often >= max(FEWEST_VIEWS, OFTEN * often.max(initial=0))
    if enough.sum() < FEWEST_POINTS:
        return geometry
    tracks = Tracks.from_table(table[enough])
    solution = adjust_bundle(tracks, geometry, max_cycles=FAST_CYCLES)
    return solution.geometry


def _cleaned(
    tracks: Tracks,
    solution: BundleSolution,
    table: Array,
    usable: NDArray[np.bool_],
    diameter_angstrom: float,
) -> Array:
    """Without outlying observations and without points that fit badly or are seen rarely."""
    cleaned = table.copy()
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
    return cleaned[holds]


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
