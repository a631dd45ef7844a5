"""Gold beads as fiducials: found in every image by a matched filter, tracked with a running solution.

Beads are detected in every view independently; a view is placed by the offset that most of its beads agree
on, and each bead is then the candidate nearest to its prediction. So errors do not accumulate, and a bead
hidden in one view is found again in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

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

PRIOR_DEPTH_ANGSTROM = 500.0  # deviation of a bead's height before it is measured
VOTE_RADIUS_ANGSTROM = 400.0
ORIGIN = np.zeros(2)
LEAST_VIEWS_OF_A_BEAD = 0.35  # fraction of the usable views


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
    geometry, table = _grow(found, start, usable)
    if table.shape[0] < 4:
        return None
    for round_ in range(n_rounds):
        tracks = Tracks.from_table(table)
        last = round_ == n_rounds - 1
        solution = adjust_bundle(
            tracks, geometry, (free or DegreesOfFreedom()) if last else DegreesOfFreedom()
        )
        table = _cleaned(tracks, solution, table, usable, maps.diameter_angstrom)
        if table.shape[0] < 4:
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
    typical = float(np.median(strongest[: max(3, min(12, len(strongest)))]))
    order = np.argsort(height)[::-1]
    kept = order[height[order] > 0.4 * typical][:150]
    return position[kept]


def _grow(
    found: list[Array], start: SeriesGeometry, usable: NDArray[np.bool_]
) -> tuple[SeriesGeometry, Array]:
    """Place views one by one: the geometry, and the table ``(n_beads, n_views, 2)`` with NaN for gaps."""
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
        points, certain = _points_with_prior(table, geometry)
        predicted = geometry.project(points)[view]
        # Images that show the ice as well as gold far above it may have been placed by either.
        offset, matched = _placed(predicted, certain, found[view], ORIGIN, shift[neighbour] - shift[view])
        seen = matched >= 0
        shift[view] += offset
        correction[view] = shift[view] - start.shift_xy_angstrom[view]
        geometry = replace(geometry, shift_xy_angstrom=shift)
        table[seen, view] = found[view][matched[seen]]
        placed.append(view)
        fresh = np.setdiff1d(np.arange(len(found[view])), matched[seen])
        if abs(start.tilt_deg[view]) < 46 and len(fresh) and len(table) < 400:
            added = np.full((len(fresh), n_views, 2), np.nan)
            added[:, view] = found[view][fresh]
            table = np.concatenate([table, added])
        if count % 4 == 0 or count == len(order) - 1:
            geometry = _readjusted(table, geometry)
            correction[placed] = (geometry.shift_xy_angstrom - start.shift_xy_angstrom)[placed]
    seen_often = np.isfinite(table[..., 0]).sum(axis=1) >= max(4, LEAST_VIEWS_OF_A_BEAD * usable.sum())
    return geometry, table[seen_often]


def _placed(
    predicted: Array, certain: NDArray[np.bool_], candidates: Array, *beginnings: Array
) -> tuple[Array, NDArray[np.int64]]:
    """Offset of a view ``(2,)`` by its candidates, and the candidate of each prediction (-1 for none).

    beginnings : offsets about which to look; the one with the most matches counts, the first of equals.
    """
    best, best_matched, most = ORIGIN, _nearest(predicted, candidates, 60.0), -1
    for beginning in beginnings:
        offset = beginning + _vote(predicted[certain] + beginning, candidates)
        matched = _nearest(predicted + offset, candidates, 60.0)
        seen = matched >= 0
        if (seen & certain).sum() < 2:
            continue
        offset = offset + np.median(candidates[matched[seen]] - (predicted + offset)[seen], axis=0)
        matched = _nearest(predicted + offset, candidates, 45.0)
        count = int(((matched >= 0) & certain).sum())
        if count > most:
            best, best_matched, most = offset, matched, count
    return best, best_matched


def _points_with_prior(table: Array, geometry: SeriesGeometry) -> tuple[Array, NDArray[np.bool_]]:
    """Points ``(n, 3)``, depth pulled to 0 while few views constrain it; and which points may vote."""
    seen = np.isfinite(table[..., 0])
    rows = geometry.matrices[:, :2]
    target = np.where(seen[..., None], table - geometry.shift_xy_angstrom, 0.0)
    normal = np.einsum("nv,vai,vaj->nij", seen.astype(float), rows, rows)
    # Measurement deviation taken as 15 A while tracks grow.
    normal += np.diag([1e-9, 1e-9, (15.0 / PRIOR_DEPTH_ANGSTROM) ** 2])
    right = np.einsum("vai,nva->ni", rows, target)
    count = seen.sum(axis=1)
    certain = count >= max(1, min(3, int(np.quantile(count, 0.75)))) if len(count) else seen.any(axis=1)
    return np.linalg.solve(normal, right[..., None])[..., 0], np.asarray(certain)


def _vote(predicted: Array, candidates: Array) -> Array:
    """Offset that brings most predictions onto candidates, ``(2,)``; 0 if there are no votes."""
    if len(predicted) == 0 or len(candidates) == 0:
        return np.zeros(2)
    differences = (candidates[None] - predicted[:, None]).reshape(-1, 2)
    differences = differences[np.hypot(*differences.T) < VOTE_RADIUS_ANGSTROM]
    if len(differences) == 0:
        return np.zeros(2)
    neighbours = cKDTree(differences)
    votes = np.array([len(n) for n in neighbours.query_ball_point(differences, 30.0)], dtype=float)
    votes -= 0.3 * np.hypot(*differences.T) / VOTE_RADIUS_ANGSTROM  # prefers the nearest of equals
    best = differences[int(np.argmax(votes))]
    return np.median(differences[np.hypot(*(differences - best).T) < 30.0], axis=0)


def _nearest(predicted: Array, candidates: Array, radius: float) -> NDArray[np.int64]:
    """Mutually nearest candidate of each prediction within ``radius``, -1 if there is none."""
    result = np.full(len(predicted), -1, dtype=np.int64)
    if len(predicted) == 0 or len(candidates) == 0:
        return result
    distance, index = cKDTree(candidates).query(predicted)
    _, back = cKDTree(predicted).query(candidates)
    mutual = (distance < radius) & (back[index] == np.arange(len(predicted)))
    result[mutual] = index[mutual]
    return result


def _readjusted(table: Array, geometry: SeriesGeometry) -> SeriesGeometry:
    """Bundle adjustment of the beads with many observations, once there are enough to determine the axis."""
    often = np.isfinite(table[..., 0]).sum(axis=1)
    enough = often >= max(4, 0.5 * often.max(initial=0))
    if enough.sum() < 4:
        return geometry
    tracks = Tracks.from_table(table[enough])
    solution = adjust_bundle(tracks, geometry, max_cycles=6)
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
    bad = (solution.robust_weight < 0.02) | (solution.residual_angstrom > 0.5 * diameter_angstrom)
    cleaned[tracks.point[bad], tracks.view[bad]] = np.nan
    count = np.isfinite(cleaned[..., 0]).sum(axis=1)
    residual, _ = solution.point_residuals_angstrom(tracks)
    typical = np.nanmedian(residual)
    holds = (count >= max(4, LEAST_VIEWS_OF_A_BEAD * usable.sum())) & (
        residual < max(3 * typical, 0.1 * diameter_angstrom)
    )
    return cleaned[holds]


def _rescued(maps: BeadMaps, geometry: SeriesGeometry, points: Array, usable: NDArray[np.bool_]) -> Array:
    """Search every bead at its predicted position: ``(n_beads, n_views, 2)``, the local maxima found."""
    predicted = geometry.project(points)
    n_y, n_x = int(maps.maps.shape[1]), int(maps.maps.shape[2])
    reach = max(2, int(np.ceil(0.45 * maps.diameter_angstrom / maps.pixel_size_angstrom)))
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
        good = (~edge & (height > max(3.5, 0.35 * float(height.median())))).cpu().numpy()
        base = torch.from_numpy(index[where] - reach).to(row)
        positions = positions_of_maxima(maps, int(view), base[:, 0] + row, base[:, 1] + column)
        table[where[good], view] = positions[good]
    return table
