"""Robust bundle adjustment of a tilt series: tracked positions in, poses and 3D points out.

Unknown are the points, a shift per view and, optionally, axis, tilts, magnification, x-tilt and a deformation
of the specimen, each fixed, one for the series, grouped (interpolated between nodes a few views apart) or
per view. Levenberg-Marquardt with the points eliminated (Schur complement; Triggs et al., Bundle Adjustment,
2000); outliers by Tukey's biweight with a scale per view (as IMOD's tiltalign does: Kremer et al. 1996).

Gauge: points are centred on their mean; tilts and magnifications vary about their start values, and the view
of least tilt keeps magnification 1. The remaining unknowns are observable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.point_elimination import EliminatedPoints
from cryoloom.algorithms.alignment.robust_weights import residual_scale, robust_weights
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, sum_by, triangulate
from cryoloom.algorithms.alignment.view_variables import (
    N_VIEW_PARAMETERS,
    DegreesOfFreedom,
    ViewVariables,
    geometry_of,
    jacobians,
    parameters_of,
)
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

__all__ = ["BundleSolution", "adjust_bundle"]

_SETTLED_WEIGHT, _SETTLED_CHANGE = 0.01, 1e-4
"""Iterations end when no robust weight changes by more, or the cost by less than this part of the scale."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BundleSolution:
    """Result of an adjustment; lengths in angstrom.

    points_xyz (n_points, 3): NaN if a point has too few observations. residual_xy (n_observations, 2):
    tracked minus predicted. robust_weight (n_observations,): 0 for an outlier, 1 for a perfect fit.
    """

    geometry: SeriesGeometry
    points_xyz_angstrom: Array
    residual_xy_angstrom: Array
    robust_weight: Array

    @property
    def residual_angstrom(self) -> Array:
        """Length of each residual."""
        return np.hypot(self.residual_xy_angstrom[:, 0], self.residual_xy_angstrom[:, 1])

    def mean_residual_angstrom(self, tracks: Tracks, *, outlier_below: float = 0.02) -> float:
        """Mean residual over the observations in use."""
        used = (self.robust_weight * tracks.weight) > outlier_below
        return float(self.residual_angstrom[used].mean()) if used.any() else float("nan")

    def view_residuals_angstrom(self, tracks: Tracks, *, outlier_below: float = 0.02) -> tuple[Array, Array]:
        """Mean residual and number of counting observations of each view, ``(n_views,)`` each."""
        return _means_by(tracks.view, tracks.n_views, self, tracks, outlier_below)

    def point_residuals_angstrom(self, tracks: Tracks, *, outlier_below: float = 0.02) -> tuple[Array, Array]:
        """Mean residual and number of counting observations of each point, ``(n_points,)`` each."""
        return _means_by(tracks.point, tracks.n_points, self, tracks, outlier_below)


def _means_by(
    index: NDArray[np.int64], n: int, solution: BundleSolution, tracks: Tracks, outlier_below: float
) -> tuple[Array, Array]:
    used = (solution.robust_weight * tracks.weight) > outlier_below
    counts = np.bincount(index[used], minlength=n).astype(float)
    sums = np.bincount(index[used], solution.residual_angstrom[used], minlength=n)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), counts


def adjust_bundle(
    tracks: Tracks,
    start: SeriesGeometry,
    free: DegreesOfFreedom | None = None,
    *,
    robust: bool = True,
    k_factor: float = 1.0,
    max_cycles: int = 12,
) -> BundleSolution:
    """Solve for geometry and points.

    With ``robust`` the observations are reweighted each cycle until the weights settle; the first cycles use
    a wide biweight, so that a poor start does not reject good observations.
    """
    basis = ViewVariables.of(free or DegreesOfFreedom(), start)
    geometry, points = start, triangulate(tracks, start, tracks.weight)
    weights, scale = tracks.weight.copy(), 1.0
    if robust:
        weights, _ = robust_weights(tracks, residuals(tracks, geometry, points), 4.0 * k_factor)
    for cycle in range(max_cycles):
        geometry, points, change = _minimise(tracks, geometry, points, weights, basis, scale)
        residual = residuals(tracks, geometry, points)
        scale = max(residual_scale(residual), 1e-9)
        if robust:
            previous = weights
            widening = max(1.0, 2.5 - 0.5 * cycle)
            weights, _ = robust_weights(tracks, residual, widening * k_factor)
            if widening == 1.0 and np.abs(weights - previous).max(initial=0.0) < _SETTLED_WEIGHT:
                break
        elif change < _SETTLED_CHANGE * scale:
            break
    geometry, points = _fixed_gauge(tracks, geometry, points)
    residual = residuals(tracks, geometry, points)
    _, robust_weight = robust_weights(tracks, residual, k_factor) if robust else (weights, weights.clip(0, 1))
    return BundleSolution(geometry, points, residual, robust_weight)


def _minimise(
    tracks: Tracks,
    geometry: SeriesGeometry,
    points: Array,
    weights: Array,
    basis: ViewVariables,
    scale: float,
    max_steps: int = 8,
) -> tuple[SeriesGeometry, Array, float]:
    """Levenberg-Marquardt at fixed weights; also the largest change of a residual, in angstrom."""
    known = np.asarray(np.isfinite(points).all(axis=1))
    active = tracks.select(known[tracks.point] & (weights > 0))
    weights = weights[known[tracks.point] & (weights > 0)]
    prior = basis.prior_information * scale**2
    damping, before = 1e-4, residuals(tracks, geometry, points)
    cost = _cost(active, geometry, points, weights, basis, prior)
    for _ in range(max_steps):
        for _ in range(6):
            step_views, step_points = _step(active, geometry, points, weights, basis, prior, damping)
            trial_geometry = geometry_of(parameters_of(geometry) + step_views)
            trial_points = points + step_points
            trial_cost = _cost(active, trial_geometry, trial_points, weights, basis, prior)
            if trial_cost <= cost:
                break
            damping *= 10.0
        else:
            break
        gain = (cost - trial_cost) / max(cost, 1e-30)
        geometry, points, cost, damping = trial_geometry, trial_points, trial_cost, max(damping / 10, 1e-9)
        if gain < 1e-6:
            break
    moved = residuals(tracks, geometry, points) - before
    return geometry, points, float(np.nanmax(np.abs(moved), initial=0.0))


def _cost(
    tracks: Tracks,
    geometry: SeriesGeometry,
    points: Array,
    weights: Array,
    basis: ViewVariables,
    prior: Array,
) -> float:
    residual = residuals(tracks, geometry, points)
    unknowns = _deviation(geometry, basis)
    return float(weights @ (residual**2).sum(axis=1) + prior @ unknowns**2)


def _deviation(geometry: SeriesGeometry, basis: ViewVariables) -> Array:
    """Unknowns that have a prior, as coefficients about the start; the free ones are left at 0."""
    return basis.unknowns_from(parameters_of(geometry) - basis.start)


def _step(
    tracks: Tracks,
    geometry: SeriesGeometry,
    points: Array,
    weights: Array,
    basis: ViewVariables,
    prior: Array,
    damping: float,
) -> tuple[Array, Array]:
    """One damped Gauss-Newton step: changes of parameters ``(n_views, 9)`` and points ``(n_points, 3)``."""
    n_views, n_points, n_parameters = tracks.n_views, tracks.n_points, N_VIEW_PARAMETERS
    residual = residuals(tracks, geometry, points)
    by_view, by_point = jacobians(tracks, geometry, points)
    weighted_view = by_view * weights[:, None, None]
    view_blocks = sum_by(tracks.view, weighted_view.transpose(0, 2, 1) @ by_view, n_views)
    view_right = sum_by(tracks.view, np.einsum("nap,na->np", weighted_view, residual), n_views)
    point_blocks = sum_by(
        tracks.point, np.einsum("n,nai,naj->nij", weights, by_point, by_point), n_points
    ) + 1e-9 * np.eye(3)
    point_right = sum_by(tracks.point, np.einsum("n,nai,na->ni", weights, by_point, residual), n_points)
    pairs = sum_by(
        tracks.view * n_points + tracks.point, weighted_view.transpose(0, 2, 1) @ by_point, n_views * n_points
    )
    coupling = pairs.reshape(n_views, n_points, n_parameters, 3).transpose(0, 2, 1, 3)

    point_blocks[:, range(3), range(3)] *= 1.0 + damping
    normal = basis.normal(view_blocks)
    # Unknown-by-point coupling, points last: (n_unknowns, n_points * 3).
    flat = basis.gather(coupling).reshape(len(normal), n_points * 3)
    eliminated = EliminatedPoints.of(flat, point_blocks, point_right)
    diagonal = np.diag(normal).copy()
    reduced = normal - eliminated.normal
    deviation = _deviation(geometry, basis)
    right = basis.gather(view_right) - eliminated.right_of_views - prior * deviation
    reduced += np.diag(prior + damping * diagonal + 1e-9 * max(diagonal.max(initial=0.0), 1.0))
    change = np.asarray(np.linalg.solve(reduced, right), dtype=np.float64)
    return basis.spread(change), eliminated.points(change)


def _fixed_gauge(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> tuple[SeriesGeometry, Array]:
    """Magnification 1 at the least tilted view that has points, and the points' mean at the origin."""
    observed = np.isin(np.arange(tracks.n_views), tracks.view)
    least = int(np.argmin(np.where(observed, np.abs(geometry.tilt_deg), np.inf)))
    factor = float(geometry.magnification[least])
    geometry = replace(geometry, magnification=geometry.magnification / factor)
    points = points * factor
    centre = np.nanmean(points, axis=0) if np.isfinite(points).any() else np.zeros(3)
    return geometry.with_origin_moved(centre), points - centre
