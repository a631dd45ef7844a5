"""Prediction error of an alignment on observations that it did not use; residuals only measure the fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.robust_weights import robust_weights
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, sum_by, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

__all__ = ["leave_one_out_residuals", "left_out_errors", "pose_distances", "pose_errors"]

Array = NDArray[np.float64]

LEAST_FOR_HALVES, LEAST_FOR_JACKKNIFE = 10, 4
"""Tracks: fewer are left out one by one; with fewer still there is no estimate."""


def left_out_errors(
    tracks: Tracks,
    start: SeriesGeometry,
    free: DegreesOfFreedom | None = None,
    *,
    n_folds: int = 5,
    robust: bool = True,
) -> Array:
    """Prediction error of each observation by poses and points made without it, ``(n_observations,)``.

    Poses come from the other folds' points; the point itself is triangulated from its other views (exact
    leave-one-out through the leverage). It increases again if variables only fit noise.
    """
    error = np.full(len(tracks.view), np.nan)
    fold = np.arange(tracks.n_points) % n_folds
    for left_out in range(n_folds):
        tested = fold[tracks.point] == left_out
        solution = adjust_bundle(tracks.select(~tested), start, free, robust=robust)
        error[tested] = leave_one_out_residuals(tracks.select(tested), solution.geometry)
    return error


def leave_one_out_residuals(tracks: Tracks, geometry: SeriesGeometry) -> Array:
    """Length of each observation's residual from the point triangulated without it."""
    points = triangulate(tracks, geometry, tracks.weight)
    residual = residuals(tracks, geometry, points)
    if len(residual) == 0:
        return np.zeros(0)
    weights, _ = robust_weights(tracks, residual, 1.0)
    points = triangulate(tracks, geometry, weights)
    residual = residuals(tracks, geometry, points)
    rows = geometry.matrices[tracks.view, :2]
    normal = sum_by(tracks.point, np.einsum("n,nai,naj->nij", weights, rows, rows), tracks.n_points)
    inverse = np.linalg.inv(normal + 1e-6 * np.eye(3))[tracks.point]
    leverage = weights[:, None, None] * np.einsum("nai,nij,nbj->nab", rows, inverse, rows)
    remaining = np.eye(2) - leverage + 1e-6 * np.eye(2)
    honest = np.linalg.solve(remaining, np.nan_to_num(residual)[..., None])[..., 0]
    return np.where(np.isfinite(residual).all(axis=1), np.hypot(honest[:, 0], honest[:, 1]), np.nan)


def pose_errors(tracks: Tracks, start: SeriesGeometry, free: DegreesOfFreedom | None = None) -> Array:
    """Error of each view's pose, ``(n_views,)`` in angstrom: difference between parts of the tracks.

    Two halves without common tracks project the same points; one rigid motion between them is removed. Half
    of their rms distance is the error of the whole, unless both halves have a common error. If there are too
    few tracks for halves, each is left out in turn (jackknife; Efron, 1982). Unlike residuals this compares
    methods: many poor tracks can place an image better than a few good ones. NaN if a part has too few tracks
    in the view: one where only shifts vary from view to view, else two.
    """
    counts = np.bincount(tracks.point, minlength=tracks.n_points)
    seen = np.flatnonzero(counts >= 2)
    if len(seen) < LEAST_FOR_HALVES:
        return _left_out_in_turn(tracks, start, free, seen)
    order = np.argsort(counts, kind="stable")
    half = np.zeros(tracks.n_points, dtype=bool)
    half[order[::2]] = True  # both halves have long and short tracks
    parts = [tracks.select(half[tracks.point] == side) for side in (False, True)]
    solutions = [adjust_bundle(part, start, free) for part in parts]
    left = [np.bincount(part.view, minlength=part.n_views) for part in parts]
    known = np.minimum(*left) >= _least_in_a_part(free)
    miss = pose_distances(
        solutions[0].geometry, solutions[1].geometry, solutions[0].points_xyz_angstrom, known
    )
    return 0.5 * miss


def _left_out_in_turn(
    tracks: Tracks, start: SeriesGeometry, free: DegreesOfFreedom | None, seen: NDArray[np.int64]
) -> Array:
    """Errors as `pose_errors`, from as many solutions as there are tracks, each without one of them.

    The variance of the whole is ``(n - 1) / n`` times the sum of squared distances.
    """
    if len(seen) < LEAST_FOR_JACKKNIFE:
        return np.full(tracks.n_views, np.nan)
    whole = adjust_bundle(tracks, start, free)
    total = np.zeros(tracks.n_views)
    for one in seen:
        part = tracks.select(tracks.point != one)
        known = np.bincount(part.view, minlength=part.n_views) >= _least_in_a_part(free)
        solution = adjust_bundle(part, whole.geometry, free)
        total += pose_distances(whole.geometry, solution.geometry, whole.points_xyz_angstrom, known) ** 2
    return np.asarray(np.sqrt(total * (len(seen) - 1) / len(seen)))


def _least_in_a_part(free: DegreesOfFreedom | None) -> int:
    return 1 if (free or DegreesOfFreedom()).only_shifts_per_view else 2


def pose_distances(
    first: SeriesGeometry, second: SeriesGeometry, points: Array, known: NDArray[np.bool_]
) -> Array:
    """Rms distance of projected points between two geometries, ``(n_views,)``, less one rigid motion.

    NaN if a view is not known, and everywhere if too little is known for the motion.
    """
    points = points[np.isfinite(points).all(axis=1)]
    if known.sum() < 3 or len(points) < 3:
        return np.full(first.n_views, np.nan)
    target = first.project(points)
    motion = np.zeros(6)
    for _ in range(4):  # Gauss-Newton for the motion that brings the second solution onto the first
        turn = Rotation.from_rotvec(motion[:3]).apply(points)
        miss = (target - second.project(turn + motion[3:]))[known]
        rows = second.matrices[known, :2]
        by_turn = np.einsum("vai,nij->vnaj", rows, -_crossing(turn))
        by_move = np.broadcast_to(rows[:, None], by_turn.shape)
        system = np.concatenate([by_turn, by_move], axis=-1).reshape(-1, 6)
        motion = motion + np.linalg.lstsq(system, miss.ravel(), rcond=None)[0]
    turn = Rotation.from_rotvec(motion[:3]).apply(points)
    miss = target - second.project(turn + motion[3:])
    return np.where(known, np.sqrt((miss**2).sum(axis=2).mean(axis=1)), np.nan)


def _crossing(vectors: Array) -> Array:
    """Matrices ``(n, 3, 3)`` of the cross product from the left with each vector."""
    x, y, z = vectors.T
    zero = np.zeros(len(vectors))
    return np.stack(
        [np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], axis=1
    )
