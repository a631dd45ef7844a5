"""Spheres and ellipsoids fitted to points: orthogonal distances, robust, with a prior on the shape.

An ellipsoid is ``|exp(-S) (x - c)| = 1`` with a symmetric matrix S: eigenvectors are its axes, eigenvalues
the logarithms of their half lengths. That has no singular point at the sphere, and the prior is simple: the
traceless part of S is 0 within 0.2, because points come from a few slices and the poles are missing. Points
picked by hand scatter about the surface, and some belong to another one: distances have Tukey's weights. The
order of points does not matter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from cryoloom.errors import DataUnfitError

__all__ = ["Ellipsoid", "EllipsoidFit", "distance_to_ellipsoid", "fit_ellipsoid", "fit_sphere"]

_FLAT = 0.02
"""Chosen: points whose extent across their best plane is a smaller part of that within it lie in a plane."""
_FAR_OFF = 4.0
"""Times the median distance from the first sphere: points farther off are left out of it."""

Array = NDArray[np.float64]

LEAST_POINTS_OF_SPHERE, LEAST_POINTS_OF_ELLIPSOID = 4, 6
"""Four numbers determine a sphere.

With two more points the shape can be estimated, for which there is a prior.
"""
SHAPE_DEVIATION = 0.2
"""Chosen: prior standard deviation of each of the five numbers that deform a sphere to an ellipsoid."""
POINT_DEVIATION_ANGSTROM, POINT_DEVIATION_WORTH = 10.0, 4.0
"""Expected distance of hand-picked points from the surface, and the weight of that prior in points."""
_TUKEY = 4.685  # deviations: 95 % efficiency for normal errors (Beaton & Tukey, 1974)
_ROUNDS = 14  # chosen: of reweighting, while the shape is let free
# chosen, doubled in each round up to the requested value: nearly a sphere at first
_FIRST_SHAPE_DEVIATION = 0.02
_FOOT_STEPS, _FOOT_PRECISION = 60, 1e-15
"""Newton's steps (about 7 are needed) until none is a larger part of the longest axis squared."""
# A basis of symmetric matrices without trace, orthonormal.
_R2, _R6 = math.sqrt(0.5), math.sqrt(1 / 6)
_TRACELESS = np.array(
    [
        [[_R2, 0, 0], [0, -_R2, 0], [0, 0, 0]],
        [[_R6, 0, 0], [0, _R6, 0], [0, 0, -2 * _R6]],
        [[0, _R2, 0], [_R2, 0, 0], [0, 0, 0]],
        [[0, 0, _R2], [0, 0, 0], [_R2, 0, 0]],
        [[0, 0, 0], [0, 0, _R2], [0, _R2, 0]],
    ]
)


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """Centre ``(3,)``, half axes ``(3,)`` in falling order, and their directions as columns of ``(3, 3)``."""

    centre_xyz_angstrom: Array
    half_axes_angstrom: Array
    directions: Array

    def point(self, toward: ArrayLike) -> Array:
        """Points of the surface for unit vectors ``(n, 3)``: the sphere's, stretched."""
        return self.centre_xyz_angstrom + np.asarray(toward, dtype=np.float64) @ self._stretch.T

    def normal(self, toward: ArrayLike) -> Array:
        """Outward normals ``(n, 3)`` at the points of unit vectors ``(n, 3)``."""
        n = np.asarray(toward, dtype=np.float64) @ np.linalg.inv(self._stretch)
        return np.asarray(n / np.linalg.norm(n, axis=1, keepdims=True))

    def toward(self, points: ArrayLike) -> Array:
        """Unit vectors whose points lie on the same ray from the centre as ``points (n, 3)``."""
        t = (np.asarray(points, dtype=np.float64) - self.centre_xyz_angstrom) @ np.linalg.inv(self._stretch).T
        return np.asarray(t / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-12))

    @property
    def _stretch(self) -> Array:
        return (self.directions * self.half_axes_angstrom) @ self.directions.T


@dataclass(frozen=True, slots=True)
class EllipsoidFit:
    """An ellipsoid, and its quality of fit."""

    ellipsoid: Ellipsoid
    half_axes_sd_angstrom: Array
    """``(3,)``"""
    distances_angstrom: Array
    """Distance of every point from the surface, positive outside, ``(n,)``."""
    weights: Array
    """Weight of every point, 0 to 1: 0 if it was rejected."""

    @property
    def rms_angstrom(self) -> float:
        """Root of the weighted mean square of the distances."""
        total = max(float(self.weights.sum()), 1e-12)
        return math.sqrt(float((self.weights * self.distances_angstrom**2).sum()) / total)


def fit_sphere(points_xyz_angstrom: ArrayLike) -> EllipsoidFit:
    """Sphere of four or more points ``(n, 3)``; DataUnfitError if they are fewer or coplanar."""
    points = _checked(points_xyz_angstrom, LEAST_POINTS_OF_SPHERE, "sphere")
    return _fitted(points, _start(points), n_shape=0)


def fit_ellipsoid(points_xyz_angstrom: ArrayLike, shape_deviation: float = SHAPE_DEVIATION) -> EllipsoidFit:
    """Ellipsoid of six or more points ``(n, 3)``.

    shape_deviation : prior standard deviation of the logarithms of its axes from those of a sphere.
    """
    points = _checked(points_xyz_angstrom, LEAST_POINTS_OF_ELLIPSOID, "ellipsoid")
    return _fitted(points, _start(points), n_shape=5, shape_deviation=shape_deviation)


def distance_to_ellipsoid(ellipsoid: Ellipsoid, points_xyz_angstrom: ArrayLike) -> Array:
    """Distances ``(n,)`` of points ``(n, 3)`` from the surface, positive outside.

    The foot of the perpendicular: Eberly, Distance from a point to an ellipsoid (2013), whose function falls
    and is convex, so that Newton's steps from below never pass its root.
    """
    local = (np.asarray(points_xyz_angstrom) - ellipsoid.centre_xyz_angstrom) @ ellipsoid.directions
    axes = ellipsoid.half_axes_angstrom
    # At the very centre the shortest axis leads to the surface.
    y = np.maximum(np.abs(local), 1e-9 * axes[-1])
    # Foot x_i = e_i^2 y_i / (t + e_i^2) with sum (e_i y_i / (t + e_i^2))^2 = 1, t above -e_min^2. Where one
    # term alone is 1, the sum is at least 1.
    t = (axes * y - axes**2).max(axis=1)
    for _ in range(_FOOT_STEPS):
        apart = np.maximum(t[:, None] + axes**2, 1e-12)
        squared = (axes * y / apart) ** 2
        step = (squared.sum(axis=1) - 1) / (2 * (squared / apart).sum(axis=1))
        t = t + np.maximum(step, 0.0)
        if step.max(initial=0.0) <= _FOOT_PRECISION * axes[0] ** 2:
            break
    foot = axes**2 * y / np.maximum(t[:, None] + axes**2, 1e-12)
    outside = ((local / axes) ** 2).sum(axis=1) >= 1
    return np.where(outside, 1.0, -1.0) * np.linalg.norm(y - foot, axis=1)


def _checked(points: ArrayLike, least: int, what: str) -> Array:
    found = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(found).all():
        raise DataUnfitError(f"points of the {what} are not finite numbers; correct them")
    found = np.unique(found, axis=0)
    if len(found) < least:
        raise DataUnfitError(f"the {what} has {len(found)} different points, expected {least} or more")
    spread = np.linalg.svd(found - found.mean(axis=0), compute_uv=False)
    if spread[-1] < _FLAT * spread[0]:
        raise DataUnfitError(
            f"the {len(found)} points of the {what} lie in a plane; pick some above or below it"
        )
    return found


def _start(points: Array) -> Array:
    """Centre and log radius ``(4,)`` of the algebraic least-squares sphere of points and of half of them.

    ``|x|^2 = 2 c x + (r^2 - |c|^2)`` is linear in c and r^2 - |c|^2; once more without the worst third.
    """
    middle = points.mean(axis=0)
    scale = float(np.abs(points - middle).max())
    kept = (points - middle) / scale
    for _ in range(3):
        design = np.column_stack([2 * kept, np.ones(len(kept))])
        centre = np.linalg.lstsq(design, (kept**2).sum(axis=1), rcond=None)[0]
        radius = math.sqrt(max(centre[3] + float(centre[:3] @ centre[:3]), 1e-6))
        off = np.abs(np.linalg.norm(kept - centre[:3], axis=1) - radius)
        n_kept = max(LEAST_POINTS_OF_SPHERE + 2, math.ceil(0.8 * len(kept)))
        if n_kept >= len(kept) or off.max() < _FAR_OFF * max(float(np.median(off)), 0.01):
            break
        kept = kept[np.argsort(off, kind="stable")[:n_kept]]
    return np.append(middle + scale * centre[:3], math.log(scale * radius))


def _fitted(points: Array, start: Array, *, n_shape: int, shape_deviation: float = 1.0) -> EllipsoidFit:
    parameters = np.append(start, np.zeros(n_shape))
    # Farther from the first sphere than any shape explains: an outlier.
    first = distance_to_ellipsoid(_ellipsoid(start), points)
    usual = max(1.4826 * float(np.median(np.abs(first))), POINT_DEVIATION_ANGSTROM)
    weights = np.clip(1 - (first / (_TUKEY * usual)) ** 2, 0, None) ** 2
    if float(weights.sum()) < LEAST_POINTS_OF_SPHERE + n_shape:
        weights = np.ones(len(points))
    deviation, shape = POINT_DEVIATION_ANGSTROM, shape_deviation
    scale = np.append(np.full(3, math.exp(start[3])), np.ones(1 + n_shape))

    def residuals(scaled: Array) -> Array:
        p = scaled * scale
        distances = distance_to_ellipsoid(_ellipsoid(p), points)
        return np.append(np.sqrt(weights) * distances / deviation, p[4:] / shape)

    for round_ in range(_ROUNDS):
        # Nearly round first, so that outliers are found before they can stretch an axis.
        shape = min(shape_deviation, _FIRST_SHAPE_DEVIATION * 2.0**round_)
        solution = least_squares(residuals, parameters / scale, method="lm" if len(points) > 9 else "trf")
        moved = np.abs(solution.x - parameters / scale).max()
        parameters = solution.x * scale
        distances = distance_to_ellipsoid(_ellipsoid(parameters), points)
        middle = 1.4826 * float(np.median(np.abs(distances)))
        robust = max(middle, 0.3 * POINT_DEVIATION_ANGSTROM)
        weights = np.clip(1 - (distances / (_TUKEY * robust)) ** 2, 0, None) ** 2
        left = max(float(weights.sum()) - 4 - n_shape, 0.0)
        squares = float((weights * distances**2).sum()) + POINT_DEVIATION_WORTH * POINT_DEVIATION_ANGSTROM**2
        deviation = math.sqrt(squares / (left + POINT_DEVIATION_WORTH))
        if moved < 1e-6 and shape == shape_deviation:
            break
    covariance = np.linalg.pinv(solution.jac.T @ solution.jac)
    return EllipsoidFit(_ellipsoid(parameters), _axis_deviations(parameters, covariance), distances, weights)


def _ellipsoid(parameters: Array) -> Ellipsoid:
    logs, directions = np.linalg.eigh(_shape(parameters))
    return Ellipsoid(parameters[:3], np.exp(logs[::-1]), directions[:, ::-1])


def _shape(parameters: Array) -> Array:
    """Matrix S."""
    shape = parameters[3] * np.eye(3)
    if len(parameters) > 4:
        shape = shape + np.tensordot(parameters[4:], _TRACELESS, 1)
    return shape


def _axis_deviations(parameters: Array, covariance: Array) -> Array:
    """Standard deviation of each half axis: d log e_k = v_k^T dS v_k."""
    ellipsoid = _ellipsoid(parameters)
    basis = np.concatenate([np.eye(3)[None], _TRACELESS])[: len(parameters) - 3]
    rows = np.einsum("ik,bij,jk->kb", ellipsoid.directions, basis, ellipsoid.directions)
    of_logs = np.einsum("kb,bc,kc->k", rows, covariance[3:, 3:], rows)
    return ellipsoid.half_axes_angstrom * np.sqrt(np.maximum(of_logs, 0.0))
