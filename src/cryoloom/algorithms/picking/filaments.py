"""Filaments: a smooth curve through points in any order, and places along it with a rotating frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_splrep
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.spatial.distance import cdist

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.rotations import rotation_z

__all__ = ["Filament", "FilamentPlaces", "fit_filament", "order_along", "sample_filament"]

Array = NDArray[np.float64]

_LEAST_POINTS = 2  # two points are a straight filament
_FINE = 2000  # chosen: points of the curve: of 1 um every 5 A


@dataclass(frozen=True, slots=True)
class Filament:
    """A curve, finely sampled by arc length."""

    points_xyz_angstrom: Array
    """``(n, 3)``, evenly spaced from end to end."""
    distances_angstrom: Array
    """Distances of the points to which it was fitted, ``(m,)``."""

    @property
    def length_angstrom(self) -> float:
        """From end to end along the curve."""
        return float(np.linalg.norm(np.diff(self.points_xyz_angstrom, axis=0), axis=1).sum())


@dataclass(frozen=True, slots=True)
class FilamentPlaces:
    """Places along a filament."""

    positions_xyz_angstrom: Array
    rotations: Array
    """``(n, 3, 3)``: z along the curve, x rotating with the given torsion only."""
    along_angstrom: Array
    """Distance from the beginning, ``(n,)``."""


def fit_filament(points_xyz_angstrom: ArrayLike, deviation_angstrom: float = 10.0) -> Filament:
    """Smooth curve through points ``(n, 3)`` in any order.

    deviation_angstrom : how far the points may lie from it, rms. Raises DataUnfitError for fewer than two.
    """
    points = np.unique(np.asarray(points_xyz_angstrom, dtype=np.float64).reshape(-1, 3), axis=0)
    if len(points) < _LEAST_POINTS:
        raise DataUnfitError(f"the filament has {len(points)} different points, expected 2 or more")
    ordered = points[order_along(points)]
    steps = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    at = np.concatenate([[0.0], np.cumsum(steps)]) / steps.sum()
    degree = min(3, len(points) - 1)
    fine = np.linspace(0, 1, _FINE)
    if degree < 3:
        curve = np.column_stack([np.interp(fine, at, ordered[:, k]) for k in range(3)])
        fitted = ordered
    else:
        splines = [
            make_splrep(at, ordered[:, k], k=degree, s=len(points) * deviation_angstrom**2 / 3)
            for k in range(3)
        ]
        curve = np.column_stack([spline(fine) for spline in splines])
        fitted = np.column_stack([spline(at) for spline in splines])
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    even = np.linspace(0, length[-1], _FINE)
    return Filament(
        np.column_stack([np.interp(even, length, curve[:, k]) for k in range(3)]),
        np.linalg.norm(ordered - fitted, axis=1),
    )


def order_along(points: Array) -> NDArray[np.int64]:
    """Order of points ``(n, 3)`` along their curve: the longest path in the minimum spanning tree.

    Points off that path are inserted at their nearest point on it. Of the two directions the one whose first
    point has the smaller x (y, z) is used, so that the order given does not matter.
    """
    tree = minimum_spanning_tree(cdist(points, points) + 1e-9)
    both = tree + tree.T

    def farthest(start: int) -> tuple[int, NDArray[np.int32]]:
        order, before = breadth_first_order(both, start, directed=False)
        length = np.zeros(len(points))
        for node in order[1:]:
            length[node] = length[before[node]] + both[before[node], node]
        return int(np.argmax(length)), before

    end, _ = farthest(0)
    other, before = farthest(end)
    way = [other]
    while way[-1] != end:
        way.append(int(before[way[-1]]))
    if tuple(points[way[-1]]) < tuple(points[way[0]]):
        way.reverse()
    place = np.empty(len(points))
    for i, point in enumerate(points):
        place[i] = way.index(i) if i in way else _between(point, points[way])
    return np.argsort(place, kind="stable")


def sample_filament(
    filament: Filament, spacing_angstrom: float, twist_deg: float = 0.0, first_azimuth_deg: float = 0.0
) -> FilamentPlaces:
    """Places every ``spacing_angstrom`` along a filament, x rotated by ``twist_deg`` from one to the next.

    Between places the frame is transported without rotation about the curve (double reflection: Wang et al.,
    ACM Trans. Graph. 27, 2008), so that only the given torsion remains.
    """
    if not spacing_angstrom > 0:
        raise ValueError(f"expected a positive spacing, got {spacing_angstrom}")
    curve, length = filament.points_xyz_angstrom, filament.length_angstrom
    n = max(1, math.floor(length / spacing_angstrom + 1e-9) + 1)
    along: Array = np.arange(n, dtype=np.float64) * spacing_angstrom
    along += 0.5 * (length - float(along[-1]))
    at = np.linspace(0, length, len(curve))
    positions = np.column_stack([np.interp(along, at, curve[:, k]) for k in range(3)])
    frames = _carried_frames(curve)
    nearest = np.clip(np.rint(along / length * (len(curve) - 1)).astype(int), 0, len(curve) - 1)
    turned = frames[nearest] @ rotation_z(first_azimuth_deg + twist_deg * np.arange(n))
    return FilamentPlaces(positions, turned, along)


def _carried_frames(curve: Array) -> Array:
    """Frames ``(n, 3, 3)`` along a curve: z is the tangent, x and y do not turn about it."""
    tangents = np.gradient(curve, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.eye(3)[int(np.argmin(np.abs(tangents[0])))]
    x = side - (side @ tangents[0]) * tangents[0]
    axes = np.empty((len(curve), 3, 3))
    x /= np.linalg.norm(x)
    for i, tangent in enumerate(tangents):
        if i:
            step = curve[i] - curve[i - 1]
            reflected = x - 2 * (step @ x) / max(float(step @ step), 1e-12) * step
            toward = tangents[i - 1] - 2 * (step @ tangents[i - 1]) / max(float(step @ step), 1e-12) * step
            bend = tangent - toward
            x = reflected - 2 * (bend @ reflected) / max(float(bend @ bend), 1e-12) * bend
            x -= (x @ tangent) * tangent
            x /= np.linalg.norm(x)
        axes[i] = np.column_stack([x, np.cross(tangent, x), tangent])
    return axes


def _between(point: Array, way: Array) -> float:
    """Position along a path ``(n, 3)`` of a point beside it, in steps."""
    if len(way) < 2:
        return 0.5
    step = np.diff(way, axis=0)
    part = np.clip(np.einsum("ij,ij->i", point - way[:-1], step) / (step**2).sum(axis=1), 0, 1)
    off = np.linalg.norm(way[:-1] + part[:, None] * step - point, axis=1)
    best = int(np.argmin(off))
    return float(best + np.clip(part[best], 1e-6, 1 - 1e-6))
