"""Local alignment: a smooth displacement of each image, from tracks, if it improves the prediction.

The tracks' residuals of a rigid solution are explained by a smooth displacement of each image (decision 11: a
few B-spline controls), solved together with shifts and points. Controls have a Gaussian prior towards zero,
towards their neighbours in the image and towards those of the previous tilt, since ice deforms continuously
under irradiation; its size and memory are chosen by the error of left-out tracks. A displacement that does
not improve the prediction of left-out tracks is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import leave_one_out_residuals
from cryoloom.algorithms.alignment.point_elimination import EliminatedPoints
from cryoloom.algorithms.alignment.robust_weights import residual_scale, robust_weights
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, sum_by, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.model.image_warp import ImageWarp, warp_bases

__all__ = ["LocalChoice", "LocalPrior", "LocalSolution", "find_local_alignment", "solve_local"]

Array = NDArray[np.float64]

N_CONTROLS = 3  # chosen, along each side: a bulge of the field as a whole is its largest displacement
N_FOLDS = 5  # chosen: of the tracks, each left out once
REWEIGHTINGS = 3  # chosen: rounds of weights against outliers
LEAST_TRACKS = 8  # chosen: fewer gains have no standard error worth the name
LEAST_SIGNIFICANCE = 2.0  # chosen: standard errors over the tracks


@dataclass(frozen=True, slots=True)
class LocalPrior:
    """Expected displacement, rms, and its correlation from one tilt to the next."""

    size_angstrom: float
    memory: float


PRIORS = tuple(LocalPrior(size, memory) for size in (3.0, 8.0, 20.0) for memory in (0.0, 0.9))
"""Chosen: tried in turn; tracks that were left out decide."""


@dataclass(frozen=True, slots=True)
class LocalSolution:
    """Rigid geometry and points, and the displacements; residuals are those of the whole model."""

    solution: BundleSolution
    warps: tuple[ImageWarp | None, ...]


@dataclass(frozen=True, slots=True)
class LocalChoice:
    """What was tried. Errors of left-out observations in angstrom, medians for every prior."""

    rigid_error_angstrom: Array
    """(n_observations,), without a displacement."""
    error_angstrom: Array
    """(n_observations,), with the best of the priors."""
    tried: tuple[tuple[LocalPrior, float], ...]
    significance: float
    """Gain in standard errors over the tracks."""
    local: LocalSolution | None
    """None if no displacement improves the prediction of left-out tracks."""


def find_local_alignment(
    tracks: Tracks,
    rigid: BundleSolution,
    free: DegreesOfFreedom,
    extent_xy_angstrom: tuple[float, float],
    acquisition: Sequence[int],
    priors: Sequence[LocalPrior] = PRIORS,
) -> LocalChoice:
    """Solve with the prior that predicts left-out tracks best, if it improves on the rigid solution.

    extent_xy_angstrom : of the images. acquisition : place of each view in the order of acquisition.
    """
    errors = np.full((len(priors) + 1, len(tracks.view)), np.nan)
    fold = np.arange(tracks.n_points) % N_FOLDS
    for left_out in range(N_FOLDS):
        tested = fold[tracks.point] == left_out
        train, test = tracks.select(~tested), tracks.select(tested)
        base = adjust_bundle(train, rigid.geometry, free)
        errors[0, tested] = leave_one_out_residuals(test, base.geometry)
        for i, prior in enumerate(priors, 1):
            local = solve_local(train, base, extent_xy_angstrom, acquisition, prior)
            straight = _undistorted(test, local.warps)
            errors[i, tested] = leave_one_out_residuals(straight, local.solution.geometry)
    medians = np.nanmedian(errors, axis=1)
    best = int(np.argmin(medians[1:])) + 1
    significance = _significance(tracks, errors[0], errors[best])
    better = medians[best] < medians[0] and significance > LEAST_SIGNIFICANCE
    local_solution = (
        solve_local(tracks, rigid, extent_xy_angstrom, acquisition, priors[best - 1]) if better else None
    )
    tried = tuple((prior, float(median)) for prior, median in zip(priors, medians[1:], strict=True))
    return LocalChoice(errors[0], errors[best], tried, significance, local_solution)


def _significance(tracks: Tracks, before: Array, after: Array) -> float:
    """Mean decrease of the median error over the tracks, in its standard errors."""
    gains = []
    for point in np.unique(tracks.point):
        mine = (tracks.point == point) & np.isfinite(before) & np.isfinite(after)
        if mine.any():
            gains.append(float(np.median(before[mine]) - np.median(after[mine])))
    if len(gains) < LEAST_TRACKS:
        return 0.0
    return float(np.mean(gains) / max(np.std(gains) / np.sqrt(len(gains)), 1e-12))


def _undistorted(tracks: Tracks, warps: Sequence[ImageWarp | None]) -> Tracks:
    """Tracks with the displacements subtracted from their positions."""
    positions = tracks.position_xy_angstrom.copy()
    for view, warp in enumerate(warps):
        mine = tracks.view == view
        if warp is not None and mine.any():
            positions[mine] = warp.undisplaced(positions[mine])
    return replace(tracks, position_xy_angstrom=positions)


def solve_local(
    tracks: Tracks,
    rigid: BundleSolution,
    extent_xy_angstrom: tuple[float, float],
    acquisition: Sequence[int],
    prior: LocalPrior,
) -> LocalSolution:
    """Displacements, shifts and points by least squares about a rigid solution, robustly weighted.

    With fixed rotations the problem is linear.
    """
    geometry = rigid.geometry
    points = np.where(
        np.isfinite(rigid.points_xyz_angstrom),
        rigid.points_xyz_angstrom,
        triangulate(tracks, geometry, tracks.weight),
    )
    known = np.asarray(np.isfinite(points).all(axis=1))[tracks.point]
    active = tracks.select(known)
    rigid_residual = residuals(active, geometry, points)
    reprojected = active.position_xy_angstrom - rigid_residual
    basis_y, basis_x = warp_bases(reprojected, extent_xy_angstrom, (N_CONTROLS, N_CONTROLS))
    basis = np.einsum("na,nb->nab", basis_y, basis_x).reshape(len(reprojected), -1)
    precision = _prior_precision(prior, extent_xy_angstrom, acquisition)
    left, weights = rigid_residual, active.weight * rigid.robust_weight[known]
    for _ in range(REWEIGHTINGS):
        shifts, controls, moves = _least_squares(active, geometry, basis, rigid_residual, weights, precision)
        along = np.einsum("nai,ni->na", geometry.matrices[active.view, :2], moves[active.point])
        displaced = np.einsum("nk,nkc->nc", basis, controls[active.view])
        left = rigid_residual - shifts[active.view] - displaced - along
        weights, _ = robust_weights(active, left, 1.0)
    moved = replace(geometry, shift_xy_angstrom=geometry.shift_xy_angstrom + shifts)
    residual = np.full((len(tracks.view), 2), np.nan)
    robust = np.zeros(len(tracks.view))
    residual[known], robust[known] = left, weights
    seen = np.isin(np.arange(tracks.n_views), active.view)
    warps = tuple(
        ImageWarp.of_controls(each.reshape(N_CONTROLS, N_CONTROLS, 2), extent_xy_angstrom)
        if is_seen
        else None
        for each, is_seen in zip(controls, seen, strict=True)
    )
    return LocalSolution(BundleSolution(moved, points + moves, residual, robust), warps)


def _prior_precision(
    prior: LocalPrior, extent_xy_angstrom: tuple[float, float], acquisition: Sequence[int]
) -> Array:
    """Inverse covariance of the controls of all views, ``(n_views K, n_views K)`` in 1/A^2.

    Controls half a field apart are correlated by 0.6, views by ``memory`` for each tilt between them.
    """
    place = np.linspace(0.0, 1.0, N_CONTROLS)
    y, x = (grid.ravel() for grid in np.meshgrid(place, place, indexing="ij"))
    apart = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    in_space = np.exp(-0.5 * apart / 0.5**2) + 1e-3 * np.eye(len(x))
    order = np.asarray(acquisition, dtype=np.float64)
    between = np.abs(order[:, None] - order)
    in_time = np.eye(len(order)) if prior.memory == 0 else prior.memory**between + 1e-6 * np.eye(len(order))
    return np.kron(np.linalg.inv(in_time), np.linalg.inv(in_space)) / prior.size_angstrom**2


def _least_squares(
    tracks: Tracks, geometry: SeriesGeometry, basis: Array, residual: Array, weights: Array, precision: Array
) -> tuple[Array, Array, Array]:
    """Changes of shifts ``(n_views, 2)`` and points ``(n_points, 3)``, and controls ``(n_views, K, 2)``.

    Points are eliminated. The unknowns of a view are its shift and its controls, those of x and y separately.
    """
    n_views, n_points, n_basis = tracks.n_views, tracks.n_points, basis.shape[1]
    scale = max(residual_scale(residual), 1e-9)
    rows = geometry.matrices[tracks.view, :2]
    by_view = np.zeros((len(basis), 2, 2 * (1 + n_basis)))
    with_shift = np.column_stack([np.ones(len(basis)), basis])
    by_view[:, 0, : 1 + n_basis] = with_shift
    by_view[:, 1, 1 + n_basis :] = with_shift
    weighted = by_view * weights[:, None, None]
    size = by_view.shape[2]
    blocks = sum_by(tracks.view, np.einsum("nap,naq->npq", weighted, by_view), n_views)
    right = sum_by(tracks.view, np.einsum("nap,na->np", weighted, residual), n_views)
    of_points = sum_by(tracks.point, np.einsum("n,nai,naj->nij", weights, rows, rows), n_points)
    right_points = sum_by(tracks.point, np.einsum("n,nai,na->ni", weights, rows, residual), n_points)
    coupling = np.zeros((n_views, n_points, size, 3))
    np.add.at(coupling, (tracks.view, tracks.point), np.einsum("nap,nai->npi", weighted, rows))
    flat = coupling.transpose(0, 2, 1, 3).reshape(n_views * size, n_points * 3)
    eliminated = EliminatedPoints.of(flat, of_points + 1e-6 * np.eye(3), right_points)
    normal = -eliminated.normal
    for view in range(n_views):
        part = slice(view * size, (view + 1) * size)
        normal[part, part] += blocks[view]
    index = np.arange(n_views * size).reshape(n_views, 2, 1 + n_basis)
    for axis in (0, 1):
        controls = index[:, axis, 1:].ravel()
        normal[np.ix_(controls, controls)] += precision * scale**2
    shifts = index[:, :, 0].ravel()
    # A common shift of the series is equivalent to the points' mean, which is fixed.
    normal[shifts, shifts] += 1e-6
    solved = np.linalg.solve(normal, right.ravel() - eliminated.right_of_views)
    unknowns = np.asarray(solved, dtype=np.float64)
    found = unknowns.reshape(n_views, 2, 1 + n_basis)
    return found[:, :, 0], found[:, :, 1:].transpose(0, 2, 1), eliminated.points(unknowns)
