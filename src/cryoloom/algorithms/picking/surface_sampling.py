"""Evenly distributed places on a surface or along a filament, with their normals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, Delaunay, cKDTree

from cryoloom.algorithms.picking.surfaces import OpenSurface, StarShaped
from cryoloom.geometry.orientation_grid import even_directions

__all__ = ["SurfacePlaces", "closed_mesh", "open_mesh", "sample_closed", "sample_open"]

Array = NDArray[np.float64]

MOST_PLACES = 200_000  # chosen: of one surface; more is a spacing in the wrong unit
_DENSE_PER_PLACE = 30  # chosen: points of a cell, whose mean is its centre
_LLOYD_ROUNDS = 60  # chosen: spacings then deviate by less than 12 % (its tests)
_DENSE_AT_LEAST, _DENSE_AT_MOST = 4000, 2_000_000
"""Chosen: few places still need a smooth surface; more points than the largest number need too much
memory."""


@dataclass(frozen=True, slots=True)
class SurfacePlaces:
    """Places ``(n, 3)`` and outward unit normals ``(n, 3)``."""

    positions_xyz_angstrom: Array
    normals: Array

    def spacing_deviation(self) -> float:
        """Standard deviation of the distance to the nearest place over its mean."""
        if len(self.positions_xyz_angstrom) < 2:
            return 0.0
        near = cKDTree(self.positions_xyz_angstrom).query(self.positions_xyz_angstrom, k=2)[0][:, 1]
        return float(near.std() / near.mean())


def sample_closed(surface: StarShaped, spacing_angstrom: float, rng: np.random.Generator) -> SurfacePlaces:
    """Places about ``spacing_angstrom`` from their neighbours, all over a closed surface.

    As many as hexagons of that spacing fill the area; moved to the centre of their nearest neighbourhood
    (Lloyd's algorithm) until they are even.
    """
    rough = even_directions(2000)
    area = float(_areas(surface, rough).sum())
    n = _n_places(area, spacing_angstrom)
    dense = even_directions(int(np.clip(_DENSE_PER_PLACE * n, _DENSE_AT_LEAST, _DENSE_AT_MOST)))
    weights = _areas(surface, dense)
    points = surface.point(dense)
    seeds = _relaxed(points, weights, n, rng)
    toward = surface.toward(seeds)
    return SurfacePlaces(surface.point(toward), surface.normal(toward))


def sample_open(surface: OpenSurface, spacing_angstrom: float, rng: np.random.Generator) -> SurfacePlaces:
    """Places about ``spacing_angstrom`` apart within the outline of an open surface."""
    outline = surface.outline_uv_angstrom
    low, high = outline.min(axis=0), outline.max(axis=0)
    step = max(spacing_angstrom / 6, math.sqrt(float(np.prod(high - low)) / _DENSE_AT_MOST))
    axes = [np.arange(a + 0.5 * step, b, step) for a, b in zip(low, high, strict=True)]
    uv = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    uv = uv[surface.inside(uv)]
    if not len(uv):
        uv = outline.mean(axis=0, keepdims=True)
    # An area of the plane represents more of the surface where that is steep.
    weights = step**2 / np.maximum(surface.normal(uv) @ surface.axes[:, 2], 0.1)
    n = _n_places(float(weights.sum()), spacing_angstrom)
    seeds = _relaxed(surface.point(uv), weights, n, rng)
    places = surface.uv(seeds)
    return SurfacePlaces(surface.point(places), surface.normal(places))


def closed_mesh(
    surface: StarShaped, side_angstrom: float, most_triangles: int
) -> tuple[Array, NDArray[np.int64]]:
    """Vertices ``(n, 3)`` and triangles ``(m, 3)``, outside counter-clockwise, of about the given side."""
    area = float(_areas(surface, even_directions(2000)).sum())
    n = int(np.clip(2 * area / (math.sqrt(3) * side_angstrom**2), 12, max(12, most_triangles // 2 + 2)))
    toward = even_directions(n)
    hull = ConvexHull(toward)
    triangles = hull.simplices.astype(np.int64)
    a, b, c = (toward[triangles[:, i]] for i in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    triangles[inward] = triangles[inward][:, [0, 2, 1]]
    return surface.point(toward), triangles


def open_mesh(
    surface: OpenSurface, side_angstrom: float, most_triangles: int
) -> tuple[Array, NDArray[np.int64]]:
    """Vertices ``(n, 3)`` and triangles ``(m, 3)`` within the outline, of about the given side."""
    outline = surface.outline_uv_angstrom
    low, high = outline.min(axis=0), outline.max(axis=0)
    step = max(side_angstrom, math.sqrt(2 * float(np.prod(high - low)) / max(most_triangles, 8)))
    axes = [np.arange(a, b + step, step) for a, b in zip(low, high, strict=True)]
    uv = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    uv = np.concatenate([outline, uv[surface.inside(uv)]])
    triangles = Delaunay(uv).simplices.astype(np.int64)
    a, b, c = (uv[triangles[:, i]] for i in range(3))
    turned = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] < 0
    triangles[turned] = triangles[turned][:, [0, 2, 1]]
    return surface.point(uv), triangles


def _n_places(area: float, spacing_angstrom: float) -> int:
    """Hexagons of a spacing d have the area 0.866 d^2."""
    if not spacing_angstrom > 0:
        raise ValueError(f"expected a positive spacing, got {spacing_angstrom}")
    n = max(1, round(area / (0.5 * math.sqrt(3) * spacing_angstrom**2)))
    if n > MOST_PLACES:
        raise ValueError(
            f"a spacing of {spacing_angstrom:g} A on {area:.3g} A^2 makes {n} places, more than {MOST_PLACES}"
        )
    return n


def _areas(surface: StarShaped, toward: Array) -> Array:
    """Area of the surface that each of even directions represents: ``r^2 dOmega / cos(normal, ray)``."""
    points = surface.point(toward) - surface.centre_xyz_angstrom
    radius = np.linalg.norm(points, axis=1)
    rays = points / radius[:, None]
    slope = np.maximum(np.einsum("ij,ij->i", surface.normal(toward), rays), 0.05)
    # Directions may be stretched (an ellipsoid's): the solid angle is that of the rays, by their neighbours.
    return radius**2 / slope * _solid_angles(rays, toward)


def _solid_angles(rays: Array, toward: Array) -> Array:
    """Solid angle of each ray if even directions ``toward`` become ``rays``, ``(n,)``; 4 pi in all."""
    equal = np.full(len(rays), 4 * math.pi / len(rays))
    if np.allclose(rays, toward, atol=1e-9):
        return equal
    _, near = cKDTree(toward).query(toward, k=7)
    apart = [np.linalg.norm(x[near[:, 1:]] - x[:, None], axis=2) for x in (rays, toward)]
    grown = (apart[0] / apart[1]).mean(axis=1) ** 2
    return equal * grown * (4 * math.pi / float((equal * grown).sum()))


def _relaxed(points: Array, weights: Array, n: int, rng: np.random.Generator) -> Array:
    """Centres ``(n, 3)`` of the cells into which dense points with areas are divided, made even."""
    if n >= len(points):
        return points
    seeds = points[rng.choice(len(points), size=n, replace=False, p=weights / weights.sum())]
    for _ in range(_LLOYD_ROUNDS):
        nearest = cKDTree(seeds).query(points)[1]
        total = np.bincount(nearest, weights, n)
        sums = np.column_stack([np.bincount(nearest, weights * points[:, k], n) for k in range(3)])
        filled = total > 0
        seeds[filled] = sums[filled] / total[filled, None]
        # An empty cell restarts at the largest one.
        for empty in np.flatnonzero(~filled):
            seeds[empty] = points[rng.choice(len(points), p=weights / weights.sum())]
    return seeds
