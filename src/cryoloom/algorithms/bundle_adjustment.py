"""Robust bundle adjustment of a tilt series: tracked positions in, poses and 3D points out.

Unknown are the points, a shift per view and, by choice, axis, tilts, magnification, x-tilt and a deformation
of the specimen, each fixed, one for the series, grouped (interpolated between nodes a few views apart) or
per view. Levenberg-Marquardt with the points eliminated (Schur complement; Triggs et al., Bundle Adjustment,
2000); outliers by Tukey's biweight with a scale per view (as IMOD's tiltalign does: Kremer et al. 1996).

Gauge: points are centred on their mean; tilts and magnifications vary about what they were, and the view
of least tilt keeps magnification 1. Only then is what is left observable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.series_geometry import SeriesGeometry

__all__ = [
    "BundleSolution",
    "Freedom",
    "Tracks",
    "Variation",
    "adjust_bundle",
    "left_out_errors",
    "triangulate",
]

Array = NDArray[np.float64]
Variation = Literal["fixed", "one", "grouped", "per_view"]

N_VIEW_PARAMETERS = 8  # shift x, shift y, axis, tilt, x-tilt, log magnification, stretch, skew
TUKEY_K = 4.685  # 95 % efficiency for normal errors
MEDIAN_OF_RAYLEIGH = 1.1774  # median length of a 2D normal vector of unit deviation per coordinate
# Deviation expected of a variable about its start (shifts and the mean axis are free): radian, or fractions.
PRIOR_DEVIATIONS = {
    "axis": np.deg2rad(2.0),
    "tilt": np.deg2rad(1.5),
    "x_tilt": np.deg2rad(5.0),
    "magnification": 0.02,
    "stretch": 0.02,
    "skew": 0.02,
}


@dataclass(frozen=True, slots=True)
class Tracks:
    """Observations of points in views, flat: ``view``, ``point`` ``(n,)`` int; positions ``(n, 2)``.

    Positions are xy in angstrom from the image centre. ``weight`` ``(n,)`` is 1 for a good measurement.
    """

    view: NDArray[np.int64]
    point: NDArray[np.int64]
    position_xy_angstrom: Array
    weight: Array
    n_views: int
    n_points: int

    @classmethod
    def from_table(cls, positions_xy_angstrom: Array, weight: Array | None = None) -> Tracks:
        """From a table ``(n_points, n_views, 2)`` in which NaN marks what was not seen."""
        table = np.asarray(positions_xy_angstrom, dtype=np.float64)
        point, view = np.nonzero(np.isfinite(table).all(axis=2))
        weights = np.ones(len(point)) if weight is None else np.asarray(weight, float)[point, view]
        return cls(view, point, table[point, view], weights, table.shape[1], table.shape[0])

    def select(self, keep: NDArray[np.bool_]) -> Tracks:
        """Only the observations marked; points and views keep their numbers."""
        return replace(
            self,
            view=self.view[keep],
            point=self.point[keep],
            position_xy_angstrom=self.position_xy_angstrom[keep],
            weight=self.weight[keep],
        )


@dataclass(frozen=True, slots=True)
class Freedom:
    """What may vary besides points and shifts."""

    axis: Variation = "one"
    tilt: Variation = "fixed"
    x_tilt: Variation = "fixed"
    magnification: Variation = "fixed"
    stretch: Variation = "fixed"
    skew: Variation = "fixed"
    group_size: int = 5


@dataclass(frozen=True, slots=True)
class BundleSolution:
    """Result of an adjustment; lengths in angstrom.

    points_xyz (n_points, 3): NaN where a point was seen too rarely. residual_xy (n_observations, 2):
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
        """Mean residual over the observations that count."""
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
    freedom: Freedom | None = None,
    *,
    robust: bool = True,
    k_factor: float = 1.0,
    max_cycles: int = 12,
) -> BundleSolution:
    """Solve for geometry and points.

    With ``robust`` the observations are reweighted each cycle until the weights settle; the first cycles
    are forgiving (a wide biweight), so that a poor start does not throw the good ones away.
    """
    basis = _Basis.of(freedom or Freedom(), start)
    geometry, points = start, triangulate(tracks, start, tracks.weight)
    weights, scale = tracks.weight.copy(), 1.0
    if robust:
        weights, _ = _robust_weights(tracks, _residuals(tracks, geometry, points), 4.0 * k_factor)
    for cycle in range(max_cycles):
        geometry, points, change = _minimise(tracks, geometry, points, weights, basis, scale)
        residual = _residuals(tracks, geometry, points)
        scale = max(_scale(residual), 1e-9)
        if robust:
            previous = weights
            widening = max(1.0, 2.5 - 0.5 * cycle)
            weights, _ = _robust_weights(tracks, residual, widening * k_factor)
            if widening == 1.0 and np.abs(weights - previous).max(initial=0.0) < 0.01:
                break
        elif change < 1e-4 * scale:
            break
    geometry, points = _fixed_gauge(tracks, geometry, points)
    residual = _residuals(tracks, geometry, points)
    _, robust_weight = (
        _robust_weights(tracks, residual, k_factor) if robust else (weights, weights.clip(0, 1))
    )
    return BundleSolution(geometry, points, residual, robust_weight)


def triangulate(tracks: Tracks, geometry: SeriesGeometry, weights: Array) -> Array:
    """Points ``(n_points, 3)`` by weighted linear least squares; NaN where seen in fewer than two views."""
    rows = geometry.matrices[tracks.view, :2]
    target = tracks.position_xy_angstrom - geometry.shift_xy_angstrom[tracks.view]
    normal = _sum_by(tracks.point, np.einsum("n,nai,naj->nij", weights, rows, rows), tracks.n_points)
    right = _sum_by(tracks.point, np.einsum("n,nai,na->ni", weights, rows, target), tracks.n_points)
    seen = _sum_by(tracks.point, (weights > 0).astype(float), tracks.n_points) >= 2
    points = np.full((tracks.n_points, 3), np.nan)
    # A whisper of curvature: a point seen in one direction only stays at mean depth instead of at infinity.
    points[seen] = np.linalg.solve(normal[seen] + 1e-6 * np.eye(3), right[seen][..., None])[..., 0]
    return points


def left_out_errors(
    tracks: Tracks,
    start: SeriesGeometry,
    freedom: Freedom | None = None,
    *,
    n_folds: int = 5,
    robust: bool = True,
) -> Array:
    """Prediction error of each observation by poses and points that never saw it, ``(n_observations,)``.

    Poses come from the other folds' points; the point itself is triangulated from its other views (exact
    leave-one-out through the leverage). This grows again where variables only fit noise.
    """
    error = np.full(len(tracks.view), np.nan)
    fold = np.arange(tracks.n_points) % n_folds
    for left_out in range(n_folds):
        tested = fold[tracks.point] == left_out
        solution = adjust_bundle(tracks.select(~tested), start, freedom, robust=robust)
        error[tested] = _leave_one_out_residuals(tracks.select(tested), solution.geometry)
    return error


def _leave_one_out_residuals(tracks: Tracks, geometry: SeriesGeometry) -> Array:
    """Length of each observation's residual from the point triangulated without it."""
    points = triangulate(tracks, geometry, tracks.weight)
    residual = _residuals(tracks, geometry, points)
    if len(residual) == 0:
        return np.zeros(0)
    weights, _ = _robust_weights(tracks, residual, 1.0)
    points = triangulate(tracks, geometry, weights)
    residual = _residuals(tracks, geometry, points)
    rows = geometry.matrices[tracks.view, :2]
    normal = _sum_by(tracks.point, np.einsum("n,nai,naj->nij", weights, rows, rows), tracks.n_points)
    inverse = np.linalg.inv(normal + 1e-6 * np.eye(3))[tracks.point]
    leverage = weights[:, None, None] * np.einsum("nai,nij,nbj->nab", rows, inverse, rows)
    remaining = np.eye(2) - leverage + 1e-6 * np.eye(2)
    honest = np.linalg.solve(remaining, np.nan_to_num(residual)[..., None])[..., 0]
    return np.where(np.isfinite(residual).all(axis=1), np.hypot(honest[:, 0], honest[:, 1]), np.nan)


@dataclass(frozen=True, slots=True)
class _Basis:
    """Linear map from the unknowns to the parameters of all views, and the unknowns' prior information.

    ``parameter[k]`` of every view is ``values[k] @ unknowns``; each parameter has its own unknowns.
    """

    parameter: tuple[int, ...]
    values: tuple[Array, ...]  # (n_views, n_unknowns of this parameter)
    inverses: tuple[Array, ...]
    prior_information: Array  # (n_unknowns,), 1 / deviation^2; 0 is free
    start: Array  # (n_views, N_VIEW_PARAMETERS), what priors pull towards

    @classmethod
    def of(cls, freedom: Freedom, start: SeriesGeometry) -> _Basis:
        n_views = start.n_views
        parameters, values = [0, 1], [np.eye(n_views), np.eye(n_views)]
        information = [np.zeros(2 * n_views)]
        for parameter, name in enumerate(PRIOR_DEVIATIONS, start=2):
            variation: Variation = getattr(freedom, name)
            if variation == "fixed":
                continue
            blocks = []
            if name == "axis" or variation == "one":
                blocks.append(np.ones((n_views, 1)))
                information.append(np.zeros(1))
            if variation in ("grouped", "per_view"):
                step = freedom.group_size if variation == "grouped" else 1
                blocks.append(_hat_functions(n_views, step))
                information.append(np.full(blocks[-1].shape[1], PRIOR_DEVIATIONS[name] ** -2.0))
            parameters.append(parameter)
            values.append(np.concatenate(blocks, axis=1))
        inverses = tuple(np.asarray(np.linalg.pinv(v), dtype=np.float64) for v in values)
        return cls(
            tuple(parameters), tuple(values), inverses, np.concatenate(information), _parameters(start)
        )

    def unknowns_from(self, view_values: Array) -> Array:
        """Least-squares unknowns of parameters ``(n_views, N_VIEW_PARAMETERS)``."""
        pairs = zip(self.inverses, self.parameter, strict=True)
        return np.concatenate([inverse @ view_values[:, parameter] for inverse, parameter in pairs])

    def gather(self, by_view: Array) -> Array:
        """Derivatives by unknowns ``(n_unknowns, ...)`` from those by parameters ``(n_views, 8, ...)``."""
        pairs = zip(self.values, self.parameter, strict=True)
        return np.concatenate([np.tensordot(v.T, by_view[:, parameter], 1) for v, parameter in pairs])

    def spread(self, unknowns: Array) -> Array:
        """Parameters ``(n_views, N_VIEW_PARAMETERS)`` of unknowns."""
        result, first = np.zeros_like(self.start), 0
        for values, parameter in zip(self.values, self.parameter, strict=True):
            result[:, parameter] = values @ unknowns[first : first + values.shape[1]]
            first += values.shape[1]
        return result

    def normal(self, blocks: Array) -> Array:
        """Normal matrix of the unknowns from the views' blocks ``(n_views, 8, 8)``."""
        rows = [
            np.concatenate(
                [(v.T * blocks[:, p, q]) @ w for w, q in zip(self.values, self.parameter, strict=True)],
                axis=1,
            )
            for v, p in zip(self.values, self.parameter, strict=True)
        ]
        return np.concatenate(rows)


def _hat_functions(n: int, step: int) -> Array:
    """Piecewise linear interpolation from nodes about ``step`` views apart, ``(n, n_nodes)``."""
    if step <= 1 or n <= 2:
        return np.eye(n)
    nodes = np.linspace(0, n - 1, max(2, round((n - 1) / step) + 1))
    return np.stack([np.interp(np.arange(n), nodes, row) for row in np.eye(len(nodes))], axis=1)


def _parameters(geometry: SeriesGeometry) -> Array:
    return np.column_stack(
        [
            geometry.shift_xy_angstrom,
            np.deg2rad(geometry.axis_deg),
            np.deg2rad(geometry.tilt_deg),
            np.deg2rad(geometry.x_tilt_deg),
            np.log(geometry.magnification),
            geometry.stretch,
            geometry.skew,
        ]
    )


def _geometry(parameters: Array) -> SeriesGeometry:
    return SeriesGeometry(
        axis_deg=np.rad2deg(parameters[:, 2]),
        tilt_deg=np.rad2deg(parameters[:, 3]),
        shift_xy_angstrom=parameters[:, :2].copy(),
        x_tilt_deg=np.rad2deg(parameters[:, 4]),
        magnification=np.exp(parameters[:, 5]),
        stretch=parameters[:, 6].copy(),
        skew=parameters[:, 7].copy(),
    )


def _residuals(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> Array:
    """Tracked minus predicted, ``(n_observations, 2)``; NaN for points without a position."""
    rows = geometry.matrices[tracks.view, :2]
    predicted = np.einsum("nai,ni->na", rows, points[tracks.point]) + geometry.shift_xy_angstrom[tracks.view]
    return tracks.position_xy_angstrom - predicted


def _jacobians(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> tuple[Array, Array]:
    """Derivatives of predicted positions by view parameters ``(n, 2, 8)`` and by the point ``(n, 2, 3)``."""
    view, r = tracks.view, np.nan_to_num(points[tracks.point])
    matrices = geometry.matrices[view]
    tilt, x_tilt, axis = (
        np.deg2rad(a[view]) for a in (geometry.tilt_deg, geometry.x_tilt_deg, geometry.axis_deg)
    )
    cos_axis, sin_axis, magnification = np.cos(axis), np.sin(axis), geometry.magnification[view]
    deformed_x = (1 + geometry.stretch[view]) * r[:, 0] + geometry.skew[view] * r[:, 1]
    # After Rx: b; the beam coordinate after Ry is the derivative of x by the tilt.
    b_y = r[:, 1] * np.cos(x_tilt) - r[:, 2] * np.sin(x_tilt)
    b_z = r[:, 1] * np.sin(x_tilt) + r[:, 2] * np.cos(x_tilt)
    beam = -deformed_x * np.sin(tilt) + b_z * np.cos(tilt)
    seen = np.einsum("nai,ni->na", matrices[:, :2], r)

    by_view = np.zeros((len(view), 2, N_VIEW_PARAMETERS))
    by_view[:, 0, 0] = by_view[:, 1, 1] = 1.0
    by_view[:, :, 2] = np.column_stack([-seen[:, 1], seen[:, 0]])
    by_view[:, :, 3] = (magnification * beam)[:, None] * np.column_stack([cos_axis, sin_axis])
    turned_x, turned_y = b_y * np.sin(tilt), -b_z
    by_view[:, 0, 4] = magnification * (cos_axis * turned_x - sin_axis * turned_y)
    by_view[:, 1, 4] = magnification * (sin_axis * turned_x + cos_axis * turned_y)
    by_view[:, :, 5] = seen
    along_x = matrices[:, :2, 0] / (1 + geometry.stretch[view])[:, None]
    by_view[:, :, 6] = along_x * r[:, :1]
    by_view[:, :, 7] = along_x * r[:, 1:2]
    return by_view, matrices[:, :2]


def _minimise(
    tracks: Tracks,
    geometry: SeriesGeometry,
    points: Array,
    weights: Array,
    basis: _Basis,
    scale: float,
    max_steps: int = 8,
) -> tuple[SeriesGeometry, Array, float]:
    """Levenberg-Marquardt at fixed weights; also the largest change of a residual, in angstrom."""
    known = np.asarray(np.isfinite(points).all(axis=1))
    active = tracks.select(known[tracks.point] & (weights > 0))
    weights = weights[known[tracks.point] & (weights > 0)]
    prior = basis.prior_information * scale**2
    damping, before = 1e-4, _residuals(tracks, geometry, points)
    cost = _cost(active, geometry, points, weights, basis, prior)
    for _ in range(max_steps):
        for _ in range(6):
            step_views, step_points = _step(active, geometry, points, weights, basis, prior, damping)
            trial_geometry = _geometry(_parameters(geometry) + step_views)
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
    moved = _residuals(tracks, geometry, points) - before
    return geometry, points, float(np.nanmax(np.abs(moved), initial=0.0))


def _cost(
    tracks: Tracks, geometry: SeriesGeometry, points: Array, weights: Array, basis: _Basis, prior: Array
) -> float:
    residual = _residuals(tracks, geometry, points)
    unknowns = _deviation(geometry, basis)
    return float(weights @ (residual**2).sum(axis=1) + prior @ unknowns**2)


def _deviation(geometry: SeriesGeometry, basis: _Basis) -> Array:
    """Unknowns that have a prior, as coefficients about the start; the free ones are left at 0."""
    return basis.unknowns_from(_parameters(geometry) - basis.start)


def _step(
    tracks: Tracks,
    geometry: SeriesGeometry,
    points: Array,
    weights: Array,
    basis: _Basis,
    prior: Array,
    damping: float,
) -> tuple[Array, Array]:
    """One damped Gauss-Newton step: changes of parameters ``(n_views, 8)`` and points ``(n_points, 3)``."""
    n_views, n_points, n_parameters = tracks.n_views, tracks.n_points, N_VIEW_PARAMETERS
    residual = _residuals(tracks, geometry, points)
    by_view, by_point = _jacobians(tracks, geometry, points)
    weighted_view = by_view * weights[:, None, None]
    view_blocks = _sum_by(tracks.view, np.einsum("nap,naq->npq", weighted_view, by_view), n_views)
    view_right = _sum_by(tracks.view, np.einsum("nap,na->np", weighted_view, residual), n_views)
    point_blocks = _sum_by(
        tracks.point, np.einsum("n,nai,naj->nij", weights, by_point, by_point), n_points
    ) + 1e-9 * np.eye(3)
    point_right = _sum_by(tracks.point, np.einsum("n,nai,na->ni", weights, by_point, residual), n_points)
    coupling = np.zeros((n_views, n_parameters, n_points, 3))
    np.add.at(
        coupling.transpose(0, 2, 1, 3),
        (tracks.view, tracks.point),
        np.einsum("nap,nai->npi", weighted_view, by_point),
    )

    point_blocks[:, range(3), range(3)] *= 1.0 + damping
    inverse = np.linalg.inv(point_blocks)
    normal = basis.normal(view_blocks)
    # Unknown-by-point coupling, points last: (n_unknowns, n_points * 3).
    flat = basis.gather(coupling).reshape(len(normal), n_points * 3)
    scaled = np.einsum("upi,pij->upj", flat.reshape(-1, n_points, 3), inverse).reshape(flat.shape)
    diagonal = np.diag(normal).copy()
    reduced = normal - scaled @ flat.T
    deviation = _deviation(geometry, basis)
    right = basis.gather(view_right) - scaled @ point_right.ravel() - prior * deviation
    reduced += np.diag(prior + damping * diagonal + 1e-9 * max(diagonal.max(initial=0.0), 1.0))
    change = np.linalg.solve(reduced, right)
    point_change = np.einsum("pij,pj->pi", inverse, point_right - (flat.T @ change).reshape(n_points, 3))
    return basis.spread(change), point_change


def _robust_weights(tracks: Tracks, residual: Array, k_factor: float) -> tuple[Array, Array]:
    """Weights for the normal equations and the biweight alone, ``(n_observations,)`` each.

    The scale of a view is its median residual, smoothed over its neighbours because few points give a poor
    median. The first also carries the view's precision, within limits.
    """
    length = np.hypot(residual[:, 0], residual[:, 1])
    scales = _view_scales(tracks, length)
    distance = length / np.maximum(TUKEY_K * k_factor * scales[tracks.view], 1e-9)
    biweight = np.where(distance < 1, (1 - np.minimum(distance, 1) ** 2) ** 2, 0.0)
    biweight = np.nan_to_num(biweight)
    typical = np.median(scales)
    precision = np.clip((typical / np.maximum(scales, 1e-9)) ** 2, 0.25, 4.0)[tracks.view]
    return biweight * tracks.weight * precision, biweight


def _view_scales(tracks: Tracks, length: Array) -> Array:
    """Deviation per coordinate of each view's residuals, ``(n_views,)``, smoothed over five views."""
    overall = _scale_of_lengths(length)
    raw, counts = np.full(tracks.n_views, overall), np.zeros(tracks.n_views)
    for view in range(tracks.n_views):
        values = length[(tracks.view == view) & np.isfinite(length) & (tracks.weight > 0)]
        counts[view] = len(values)
        if len(values) >= 3:
            raw[view] = np.median(values) / MEDIAN_OF_RAYLEIGH
    kernel = np.array([1.0, 2.0, 4.0, 2.0, 1.0])
    mass = np.convolve(np.sqrt(counts) + 1e-3, kernel, mode="same")
    smooth = np.convolve(raw * (np.sqrt(counts) + 1e-3), kernel, mode="same") / mass
    return np.maximum(smooth, 0.2 * overall + 1e-9)


def _scale(residual: Array) -> float:
    return _scale_of_lengths(np.hypot(residual[:, 0], residual[:, 1]))


def _scale_of_lengths(length: Array) -> float:
    known = length[np.isfinite(length)]
    return float(np.median(known) / MEDIAN_OF_RAYLEIGH) if len(known) else 1.0


def _fixed_gauge(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> tuple[SeriesGeometry, Array]:
    """Magnification 1 at the least tilted view that has points, and the points' mean at the origin."""
    observed = np.isin(np.arange(tracks.n_views), tracks.view)
    least = int(np.argmin(np.where(observed, np.abs(geometry.tilt_deg), np.inf)))
    factor = float(geometry.magnification[least])
    geometry = replace(geometry, magnification=geometry.magnification / factor)
    points = points * factor
    centre = np.nanmean(points, axis=0) if np.isfinite(points).any() else np.zeros(3)
    return geometry.with_origin_moved(centre), points - centre


def _sum_by(index: NDArray[np.int64] | Sequence[int], values: Array, n: int) -> Array:
    """Sum ``values`` ``(n_observations, ...)`` over equal ``index``, ``(n, ...)``."""
    total = np.zeros((n, *values.shape[1:]))
    np.add.at(total, np.asarray(index), values)
    return total
