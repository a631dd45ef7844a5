"""Surfaces through points: closed ones as a radius over direction, open ones as a height over a plane.

A closed surface is a sum of spherical harmonics about a centre, as smooth as the points allow: the highest
degree is chosen by cross-validation. An open one, a membrane picked on several slices, is a thin-plate spline
over the points' principal plane, with its smoothness chosen the same way. Neither depends on the order of the
points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import ConvexHull, Delaunay, QhullError

from cryoloom.algorithms.picking.ellipsoids import fit_sphere
from cryoloom.algorithms.picking.spherical_harmonics import degrees_of_terms, spherical_harmonics
from cryoloom.errors import DataUnfitError

__all__ = ["ClosedSurface", "OpenSurface", "StarShaped", "fit_closed_surface", "fit_open_surface"]

_AT_CENTRE = 0.05
"""Chosen, of the largest radius: a nearer point gives the surface no direction."""
_ON_A_LINE = 0.02
"""Chosen: extent across over extent along, below which points lie on a line."""
_EQUALLY_GOOD = 1.05
"""Chosen, times the least error of left-out points: among these the smoothest surface is taken."""

Array = NDArray[np.float64]

MOST_DEGREE = 6  # chosen: of harmonics; cross-validation chooses up to it
_RIDGES = 10.0 ** np.arange(-8.0, 1.0)
_SMOOTHINGS = 10.0 ** np.arange(-4.0, 4.0)
"""Chosen: powers of ten among which cross-validation chooses, from no smoothing to a sphere or a plane."""
_LEAST_OPEN_POINTS = 6  # three make a plane; six have a curvature
_STEP = 1e-4
"""Chosen: of a difference quotient, on the unit sphere."""
_BETTER = 0.999
"""Chosen: a higher degree must lower the left-out error by a thousandth."""
_ONLY_SUPPORT = 0.999
"""Chosen: a point that alone decides a coefficient cannot be left out."""


class StarShaped(Protocol):
    """A closed surface that every ray from its centre meets once."""

    @property
    def centre_xyz_angstrom(self) -> Array:
        """Origin of the rays, ``(3,)``."""

    def point(self, toward: ArrayLike) -> Array:
        """Points ``(n, 3)`` on the rays of unit vectors ``(n, 3)``."""

    def normal(self, toward: ArrayLike) -> Array:
        """Outward unit normals ``(n, 3)`` there."""

    def toward(self, points: ArrayLike) -> Array:
        """Unit vectors of the rays through points ``(n, 3)``."""


@dataclass(frozen=True, slots=True)
class ClosedSurface:
    """Radius over direction."""

    centre_xyz_angstrom: Array
    coefficients: Array
    """Coefficients of `spherical_harmonics`, ``((l_max + 1)^2,)``, in angstrom."""
    distances_angstrom: Array
    """Distances of the points to which it was fitted, along their rays, positive outside, ``(n,)``."""

    @property
    def l_max(self) -> int:
        """Highest degree."""
        return math.isqrt(len(self.coefficients)) - 1

    def radius(self, toward: ArrayLike) -> Array:
        """Distance from the centre, ``(n,)``."""
        return np.asarray(spherical_harmonics(toward, self.l_max) @ self.coefficients)

    def point(self, toward: ArrayLike) -> Array:
        """Points ``(n, 3)`` on the rays of unit vectors ``(n, 3)``."""
        t = np.asarray(toward, dtype=np.float64)
        return self.centre_xyz_angstrom + self.radius(t)[:, None] * t

    def normal(self, toward: ArrayLike) -> Array:
        """Outward unit normals ``(n, 3)``: gradient of ``|x| - r(x / |x|)``."""
        t = np.asarray(toward, dtype=np.float64)
        radius = self.radius(t)
        slope = np.zeros_like(t)
        for axis in range(3):
            step = np.zeros(3)
            step[axis] = _STEP
            ends = [(t + sign * step) / np.linalg.norm(t + sign * step, axis=1)[:, None] for sign in (1, -1)]
            slope[:, axis] = (self.radius(ends[0]) - self.radius(ends[1])) / (2 * _STEP)
        n = t - slope / radius[:, None]
        return np.asarray(n / np.linalg.norm(n, axis=1, keepdims=True))

    def toward(self, points: ArrayLike) -> Array:
        """Unit vectors of the rays through points ``(n, 3)``."""
        t = np.asarray(points, dtype=np.float64) - self.centre_xyz_angstrom
        return np.asarray(t / np.maximum(np.linalg.norm(t, axis=1, keepdims=True), 1e-12))


@dataclass(frozen=True, slots=True)
class OpenSurface:
    """Height over a plane, within the outline of the points."""

    origin_xyz_angstrom: Array
    axes: Array
    """Rotation ``(3, 3)``: columns are the plane's u and v, and the side that counts as outside."""
    spline: RBFInterpolator | None
    """Height in angstrom over (u, v) in units of ``scale``; None for the plane itself."""
    scale_angstrom: float
    outline_uv_angstrom: Array
    """Corners ``(m, 2)`` of the convex outline."""
    distances_angstrom: Array
    """Distances of the points to which it was fitted, across the plane, ``(n,)``."""

    def point(self, uv_angstrom: ArrayLike) -> Array:
        """Points ``(n, 3)`` over places ``(n, 2)`` of the plane."""
        uv = np.asarray(uv_angstrom, dtype=np.float64)
        local = np.column_stack([uv, self._height(uv)])
        return np.asarray(self.origin_xyz_angstrom + local @ self.axes.T)

    def normal(self, uv_angstrom: ArrayLike) -> Array:
        """Unit normals ``(n, 3)`` on the outer side."""
        uv, step = np.asarray(uv_angstrom, dtype=np.float64), 1e-3 * self.scale_angstrom
        slopes = []
        for axis in range(2):
            move = step * np.eye(2)[axis]
            slopes.append((self._height(uv + move) - self._height(uv - move)) / (2 * step))
        n = np.column_stack([-slopes[0], -slopes[1], np.ones(len(uv))]) @ self.axes.T
        return np.asarray(n / np.linalg.norm(n, axis=1, keepdims=True))

    def uv(self, points: ArrayLike) -> Array:
        """Places ``(n, 2)`` of the plane below points ``(n, 3)``."""
        return np.asarray((np.asarray(points) - self.origin_xyz_angstrom) @ self.axes[:, :2])

    def inside(self, uv_angstrom: ArrayLike) -> NDArray[np.bool_]:
        """Which places ``(n, 2)`` lie within the outline."""
        return np.asarray(Delaunay(self.outline_uv_angstrom).find_simplex(np.asarray(uv_angstrom)) >= 0)

    def _height(self, uv: Array) -> Array:
        return np.zeros(len(uv)) if self.spline is None else np.asarray(self.spline(uv / self.scale_angstrom))


def fit_closed_surface(
    points_xyz_angstrom: ArrayLike, centre_xyz_angstrom: ArrayLike | None = None
) -> ClosedSurface:
    """Closed surface of points ``(n, 3)``.

    centre_xyz_angstrom : a point inside, with a free line to every point; unset: that of the points' sphere.
    Raises DataUnfitError for too few points.
    """
    points = np.unique(np.asarray(points_xyz_angstrom, dtype=np.float64).reshape(-1, 3), axis=0)
    centre = (
        fit_sphere(points).ellipsoid.centre_xyz_angstrom
        if centre_xyz_angstrom is None
        else np.asarray(centre_xyz_angstrom, dtype=np.float64)
    )
    rays = points - centre
    radius = np.linalg.norm(rays, axis=1)
    if radius.min() < _AT_CENTRE * radius.max():
        raise DataUnfitError("a point lies at the centre of the closed surface; give another centre")
    best: tuple[float, Array, int] | None = None
    for l_max in range(MOST_DEGREE + 1):
        design = spherical_harmonics(rays, l_max)
        degree = degrees_of_terms(l_max).astype(np.float64)
        stiffness = degree**2 * (degree + 1) ** 2
        for ridge in _RIDGES:
            error, coefficients = _left_out_error(design, radius, len(points) * ridge * stiffness)
            if best is None or error < _BETTER * best[0]:
                best = (error, coefficients, l_max)
    if best is None:
        raise DataUnfitError(f"the closed surface has {len(points)} points, expected 4 or more")
    distances = radius - spherical_harmonics(rays, best[2]) @ best[1]
    return ClosedSurface(centre, best[1], distances)


def fit_open_surface(
    points_xyz_angstrom: ArrayLike, outside_xyz_angstrom: ArrayLike | None = None
) -> OpenSurface:
    """Open surface of points ``(n, 3)``, from a few slices or all over it.

    outside_xyz_angstrom : a place on the side that counts as outside; unset: above, towards +z.
    """
    points = np.unique(np.asarray(points_xyz_angstrom, dtype=np.float64).reshape(-1, 3), axis=0)
    if len(points) < _LEAST_OPEN_POINTS:
        raise DataUnfitError(
            f"the open surface has {len(points)} different points, expected {_LEAST_OPEN_POINTS} or more"
        )
    origin = points.mean(axis=0)
    _, extent, rows = np.linalg.svd(points - origin, full_matrices=False)
    if extent[1] < _ON_A_LINE * extent[0]:
        raise DataUnfitError("the points of the open surface lie on a line; pick some beside it")
    up = (
        np.array([0.0, 0.0, 1.0])
        if outside_xyz_angstrom is None
        else np.asarray(outside_xyz_angstrom) - origin
    )
    normal = rows[2] if rows[2] @ up >= 0 else -rows[2]
    axes = np.column_stack([rows[0], np.cross(normal, rows[0]), normal])
    local = (points - origin) @ axes
    scale = float(np.abs(local[:, :2]).max())
    try:
        outline = local[ConvexHull(local[:, :2]).vertices, :2]
    except QhullError as error:
        raise DataUnfitError(
            "the points of the open surface span no area; pick some beside the line"
        ) from error
    spline = _smoothest(local[:, :2] / scale, local[:, 2])
    heights = spline(local[:, :2] / scale)
    return OpenSurface(origin, axes, spline, scale, outline, local[:, 2] - heights)


def _left_out_error(design: Array, values: Array, ridge: Array) -> tuple[float, Array]:
    """Mean square error of each value from the fit to the others, and the coefficients of the fit to all."""
    normal = design.T @ design + np.diag(ridge)
    # The constant has no ridge of its own.
    normal[np.diag_indices(len(normal))] += 1e-12 * np.trace(normal)
    inverse = np.linalg.pinv(normal)
    coefficients = inverse @ design.T @ values
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    left = (values - design @ coefficients) / np.maximum(1 - leverage, 1e-3)
    if (leverage > _ONLY_SUPPORT).any():
        return math.inf, coefficients
    return float((left**2).mean()), coefficients


def _smoothest(uv: Array, heights: Array) -> RBFInterpolator:
    """Thin-plate spline whose smoothing predicts left-out fifths of the points best."""
    order = np.lexsort(uv.T)
    fold = np.empty(len(uv), dtype=int)
    fold[order] = np.arange(len(uv)) % 5
    errors = []
    for smoothing in _SMOOTHINGS:
        error = 0.0
        for f in range(5):
            out = fold == f
            if (~out).sum() < 4 or not out.any():
                continue
            fitted = RBFInterpolator(uv[~out], heights[~out], kernel="thin_plate_spline", smoothing=smoothing)
            error += float(((fitted(uv[out]) - heights[out]) ** 2).sum())
        errors.append(error)
    # Among equally good ones the smoothest.
    good = np.flatnonzero(np.array(errors) <= _EQUALLY_GOOD * min(errors) + 1e-12)
    return RBFInterpolator(uv, heights, kernel="thin_plate_spline", smoothing=float(_SMOOTHINGS[good[-1]]))
