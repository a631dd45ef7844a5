"""Positions of the same points in many images, their residuals for a geometry, and triangulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from cryoloom.algorithms.series.series_geometry import SeriesGeometry

__all__ = ["Tracks", "residuals", "sum_by", "triangulate"]

Array = NDArray[np.float64]


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
        """From a table ``(n_points, n_views, 2)`` in which NaN marks missing observations."""
        table = np.asarray(positions_xy_angstrom, dtype=np.float64)
        point, view = np.nonzero(np.isfinite(table).all(axis=2))
        weights = np.ones(len(point)) if weight is None else np.asarray(weight, float)[point, view]
        return cls(view, point, table[point, view], weights, table.shape[1], table.shape[0])

    def select(self, keep: NDArray[np.bool_]) -> Tracks:
        """Only the marked observations; points and views keep their numbers."""
        return replace(
            self,
            view=self.view[keep],
            point=self.point[keep],
            position_xy_angstrom=self.position_xy_angstrom[keep],
            weight=self.weight[keep],
        )


def residuals(tracks: Tracks, geometry: SeriesGeometry, points: Array) -> Array:
    """Tracked minus predicted, ``(n_observations, 2)``; NaN for points without a position."""
    rows = geometry.matrices[tracks.view, :2]
    predicted = np.einsum("nai,ni->na", rows, points[tracks.point]) + geometry.shift_xy_angstrom[tracks.view]
    return tracks.position_xy_angstrom - predicted


def triangulate(tracks: Tracks, geometry: SeriesGeometry, weights: Array) -> Array:
    """Points ``(n_points, 3)`` by weighted linear least squares; NaN for those with fewer than two views."""
    rows = geometry.matrices[tracks.view, :2]
    target = tracks.position_xy_angstrom - geometry.shift_xy_angstrom[tracks.view]
    normal = sum_by(tracks.point, np.einsum("n,nai,naj->nij", weights, rows, rows), tracks.n_points)
    right = sum_by(tracks.point, np.einsum("n,nai,na->ni", weights, rows, target), tracks.n_points)
    seen = sum_by(tracks.point, (weights > 0).astype(float), tracks.n_points) >= 2
    points = np.full((tracks.n_points, 3), np.nan)
    # A small curvature: a point seen from one direction only stays at mean depth instead of at infinity.
    points[seen] = np.linalg.solve(normal[seen] + 1e-6 * np.eye(3), right[seen][..., None])[..., 0]
    return points


def sum_by(index: NDArray[np.int64] | Sequence[int], values: Array, n: int) -> Array:
    """Sum ``values`` ``(n_observations, ...)`` over equal ``index``, ``(n, ...)``."""
    if values.ndim == 1:
        return np.asarray(np.bincount(index, values, n), dtype=np.float64)
    # As a product with a matrix of ones, ten times as fast as np.add.at, in the same order of summation.
    n_values = len(values)
    ones = csc_array((np.ones(n_values), np.asarray(index), np.arange(n_values + 1)), shape=(n, n_values))
    flat = values.reshape(n_values, math.prod(values.shape[1:]))
    return np.asarray(ones @ flat).reshape(n, *values.shape[1:])
