"""Distribution of tracked points in depth: the thickness of their cloud, and one or two surfaces.

Gold lies on one or both surfaces of the ice; patches and features lie within it. Two parallel planes are
fitted as IMOD's tiltalign does for beads ("surfaces to analyze"): points are assigned to the nearer plane,
alternating with the fit of the planes. Two planes are accepted if each has some points and their scatter
about the planes is a small fraction of the distance: points evenly distributed through a layer, divided at
its middle, scatter by 0.29 of the distance of the halves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BeadPlanes", "PointSurfaces", "extent_of_layer", "find_bead_planes", "find_surfaces"]

Array = NDArray[np.float64]

LEAST_POINTS = 5  # three make a plane; two more say how well they lie on it
LEAST_ON_A_SURFACE = 2  # chosen: a single point above the others is not a surface
MOST_SCATTER = 0.15
"""Chosen: fraction of the distance between two surfaces."""
CENTRAL_PERCENT = (5.0, 95.0)  # chosen: of the heights; one false track in twenty does not widen the layer
N_ROUNDS = 20  # chosen: most rounds of the division into two surfaces; it ends when nothing changes
# Chosen: gold on a surface lies on one plane to a few angstrom; the ice may be uneven by some more.
PLANE_TOLERANCE_ANGSTROM = 30.0
LEAST_ON_A_PLANE, LEAST_ON_THE_SECOND = 5, 3  # chosen: three make a plane, more of them confirm it
LEAST_PART_ON_PLANES = 0.6
"""Fraction of the points.

Of points distributed evenly through 1000 angstrom, a tenth lies on some plane by chance.
"""
STEEPEST_PLANE_DEG = 30.0  # chosen: specimens are mounted flatter
SMALLEST_TRIANGLE_ANGSTROM2 = 2e5  # twice the area, of sides of 480 A: smaller ones leave the slopes open
N_DRAWS = 400  # chosen: of three points; were a third on one plane, one draw in 27 is of it
# Chosen, of beads within the ice: it contains nearly all of them; among many a few may be false.
BEADS_WITHIN_PERCENT = (2.5, 97.5)
# Neighbours in height of one layer are no farther apart than the features' slab may be from its surface.
NEAR_LAYER_ANGSTROM, NEAR_LAYER_PART = 150.0, 0.35


@dataclass(frozen=True, slots=True)
class PointSurfaces:
    """Plane ``z = a + b x + c y`` of the points, or the middle one of two parallel ones."""

    slope_x: float
    slope_y: float
    cloud_thickness_angstrom: float
    """Thickness, across the plane, of the central nine tenths of the points."""
    distance_angstrom: float | None
    """Distance between two surfaces; None if there is only one."""


def find_surfaces(points_xyz_angstrom: Array) -> PointSurfaces | None:
    """Surfaces of points ``(n, 3)``, without those not finite; None for fewer than five or a line."""
    points = points_xyz_angstrom[np.isfinite(points_xyz_angstrom).all(axis=1)]
    if len(points) < LEAST_POINTS or np.linalg.matrix_rank(_design(points), tol=1e-3) < 3:
        return None
    plane, height = _fit(points, np.zeros(len(points), dtype=bool))
    pair = _two(points, height)
    if pair is not None:
        plane, height = pair[0], points[:, 2] - points[:, :2] @ pair[0][:2]
    across = 1 / np.sqrt(1 + plane[0] ** 2 + plane[1] ** 2)
    low, high = np.percentile(height, CENTRAL_PERCENT)
    return PointSurfaces(
        float(plane[0]),
        float(plane[1]),
        float((high - low) * across),
        None if pair is None else float(pair[1] * across),
    )


@dataclass(frozen=True, slots=True)
class BeadPlanes:
    """One or two parallel planes ``z = height + slope_x x + slope_y y`` on which gold lies."""

    slope_x: float
    slope_y: float
    heights_angstrom: tuple[float, ...]
    """Ascending, of one plane or two."""


def find_bead_planes(points_xyz_angstrom: Array, rng: np.random.Generator) -> BeadPlanes | None:
    """Planes with most of the points ``(n, 3)``, independent of the others; None if there are none.

    The plane through three points with most others on it is searched (RANSAC; Fischler & Bolles, 1981),
    fitted again to these, and a second one parallel to it among the rest.
    """
    points = points_xyz_angstrom[np.isfinite(points_xyz_angstrom).all(axis=1)]
    if len(points) < LEAST_ON_A_PLANE:
        return None
    steepest = np.tan(np.deg2rad(STEEPEST_PLANE_DEG))
    on_best = np.zeros(len(points), dtype=bool)
    for _ in range(N_DRAWS):
        three = points[rng.permutation(len(points))[:3]]
        if abs(np.linalg.det(_design(three))) < SMALLEST_TRIANGLE_ANGSTROM2:
            continue
        plane = np.linalg.solve(_design(three), three[:, 2])
        if np.hypot(plane[0], plane[1]) > steepest:
            continue
        on_it = np.abs(points[:, 2] - _design(points) @ plane) < PLANE_TOLERANCE_ANGSTROM
        if on_it.sum() > on_best.sum():
            on_best = on_it
    if on_best.sum() < LEAST_ON_A_PLANE:
        return None
    plane = np.linalg.lstsq(_design(points[on_best]), points[on_best, 2], rcond=None)[0]
    above = points[:, 2] - _design(points) @ plane
    rest = above[~on_best]
    near = np.abs(rest[:, None] - rest[None, :]) < PLANE_TOLERANCE_ANGSTROM
    n_second = int(near.sum(axis=1).max(initial=0))
    if n_second < max(LEAST_ON_THE_SECOND, LEAST_PART_ON_PLANES * len(rest)):
        if on_best.mean() < LEAST_PART_ON_PLANES:
            return None
        return BeadPlanes(float(plane[0]), float(plane[1]), (float(plane[2]),))
    second = float(np.median(rest[near[int(near.sum(axis=1).argmax())]]))
    upper = np.abs(above - second) < PLANE_TOLERANCE_ANGSTROM
    both = on_best | upper
    slopes = _fit(points[both], upper[both])[0]
    heights = sorted((float(slopes[2]), float(slopes[2] + slopes[3])))
    return BeadPlanes(float(slopes[0]), float(slopes[1]), (heights[0], heights[1]))


def _two(points: Array, height: Array) -> tuple[Array, float] | None:
    """Slopes of two parallel planes and their distance along z; None if one plane fits as well."""
    upper = height > 0.5 * (height.min() + height.max())
    plane, left = _fit(points, upper)
    for _ in range(N_ROUNDS):
        of_slopes = points[:, 2] - points[:, :2] @ plane[:2]
        nearer = of_slopes > plane[2] + 0.5 * plane[3]
        if min(nearer.sum(), (~nearer).sum()) < LEAST_ON_A_SURFACE:
            return None
        if (nearer == upper).all():
            break
        upper = nearer
        plane, left = _fit(points, upper)
    # Two slopes and two heights were fitted to the points.
    scatter = np.sqrt((left**2).sum() / max(len(points) - 4, 1))
    distance = float(plane[3])
    return (plane, distance) if scatter < MOST_SCATTER * distance else None


def _fit(points: Array, upper: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Least squares for slopes, height and the step to the upper points; and the residuals of z."""
    design = np.column_stack([_design(points), upper])
    found = np.linalg.lstsq(design, points[:, 2], rcond=1e-9)[0]
    return np.asarray(found, dtype=np.float64), points[:, 2] - design @ found


def _design(points: Array) -> Array:
    return np.column_stack([points[:, :2], np.ones(len(points))])


def extent_of_layer(
    heights_angstrom: Array, low_angstrom: float, high_angstrom: float
) -> tuple[float, float]:
    """Lowest and highest surface of a layer between ``low`` and ``high`` that also contains beads.

    heights_angstrom : ``(n,)`` above the same plane. A bead far from the layer and from all beads nearer to
    it is a false one, or lies on something else: a single one must not make the layer thicker.
    """
    reach = max(NEAR_LAYER_ANGSTROM, NEAR_LAYER_PART * (high_angstrom - low_angstrom))
    above = np.sort(heights_angstrom[heights_angstrom > high_angstrom])
    below = -np.sort(-heights_angstrom[heights_angstrom < low_angstrom])
    highest = high_angstrom + _reached(above - high_angstrom, reach)
    lowest = low_angstrom - _reached(low_angstrom - below, reach)
    held = heights_angstrom[(heights_angstrom >= lowest) & (heights_angstrom <= highest)]
    if not len(held):
        return low_angstrom, high_angstrom
    inner, outer = np.percentile(held, BEADS_WITHIN_PERCENT)
    return min(low_angstrom, float(inner)), max(high_angstrom, float(outer))


def _reached(distances: Array, reach: float) -> float:
    """The last of ascending distances before the first step longer than ``reach``; 0 without one."""
    steps = np.diff(distances, prepend=0.0)
    too_far = np.flatnonzero(steps > reach)
    n = int(too_far[0]) if len(too_far) else len(distances)
    return float(distances[n - 1]) if n else 0.0
