"""Selection of picks: duplicates, distances to other objects and to edges, neighbours on a lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.candidates import keep_apart
from cryoloom.geometry.projection import project
from cryoloom.model import TiltSeries

__all__ = ["distance_to", "distinct", "lattice_distance", "lattice_neighbours", "seen_fraction"]

Array = NDArray[np.float64]

_LATTICE_RANGE = (0.5, 4.0)  # chosen: of the median distance to the nearest pick, in which pairs are counted
_BINS = 70  # chosen: bins of a twentieth of that distance
_TOLERANCE = 0.2
"""Chosen: of the distance on a lattice: uneven picks stay neighbours, second ones (1.73) are none."""
_LEAST_PICKS, _FIRST_PEAK = 20, 1.6
"""Chosen: fewer picks have no histogram; the first peak of a lattice lies within 1.6 of the median nearest
distance, the second of a hexagonal one at 1.73."""


def distinct(positions_xyz_angstrom: Array, score: Array | None, apart_angstrom: float) -> NDArray[np.bool_]:
    """Which picks ``(n, 3)`` have no better one closer than ``apart_angstrom``."""
    n = len(positions_xyz_angstrom)
    order = np.arange(n) if score is None else np.argsort(-np.nan_to_num(score, nan=-np.inf), kind="stable")
    kept = np.zeros(n, dtype=bool)
    kept[order[keep_apart(positions_xyz_angstrom[order], apart_angstrom)]] = True
    return kept


def distance_to(positions_xyz_angstrom: Array, others_xyz_angstrom: Array) -> Array:
    """Distance of positions ``(n, 3)`` to the nearest of others ``(m, 3)``, ``(n,)``; else infinite."""
    if not len(others_xyz_angstrom) or not len(positions_xyz_angstrom):
        return np.full(len(positions_xyz_angstrom), np.inf)
    return np.asarray(cKDTree(others_xyz_angstrom).query(positions_xyz_angstrom)[0])


def seen_fraction(series: TiltSeries, positions_xyz_angstrom: Array, margin_angstrom: float) -> Array:
    """Fraction of the tilts, ``(n,)``, whose image shows each position ``(n, 3)`` this far from its edges."""
    tilts = [tilt for tilt in series.included if tilt.pose is not None]
    poses = [tilt.pose for tilt in tilts if tilt.pose is not None]
    if not poses:
        return np.zeros(len(positions_xyz_angstrom))
    stack = series.unweighted_stack
    half = 0.5 * np.array(stack.shape_yx[::-1]) * stack.pixel_size_angstrom - margin_angstrom
    matrices = np.stack([pose.magnification * pose.matrix for pose in poses])
    seen = project(positions_xyz_angstrom, matrices, np.array([pose.shift_xy_angstrom for pose in poses]))
    return np.asarray((np.abs(seen) <= half).all(axis=-1).mean(axis=0))


def lattice_distance(positions_xyz_angstrom: Array) -> float | None:
    """Distance of neighbours on a lattice: the first peak of the pair distances; None for under 20 picks.

    Counts are divided by those of a layer without order (they grow with the distance).
    """
    n = len(positions_xyz_angstrom)
    if n < _LEAST_PICKS:
        return None
    tree = cKDTree(positions_xyz_angstrom)
    nearest = tree.query(positions_xyz_angstrom, k=2)[0][:, 1]
    middle = float(np.median(nearest[nearest > 0])) if (nearest > 0).any() else 0.0
    if middle == 0:
        return None
    edges = np.linspace(_LATTICE_RANGE[0] * middle, _LATTICE_RANGE[1] * middle, _BINS + 1)
    pairs = tree.sparse_distance_matrix(tree, edges[-1], output_type="coo_matrix").data
    counts = np.histogram(pairs[pairs > 0], edges)[0] / (0.5 * (edges[1:] + edges[:-1]))
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")
    near = edges[:-1] < _FIRST_PEAK * middle
    best = int(np.argmax(np.where(near, smooth, 0)))
    return float(0.5 * (edges[best] + edges[best + 1]))


def lattice_neighbours(
    positions_xyz_angstrom: Array, axes: Array | None, distance_angstrom: float, most_angle_deg: float
) -> NDArray[np.int64]:
    """Number of neighbours of each pick ``(n, 3)`` at the lattice's distance, within a fifth, ``(n,)``.

    axes : z axes of the picks ``(n, 3)``; those that differ by more than ``most_angle_deg`` do not count.
    """
    n = len(positions_xyz_angstrom)
    tree = cKDTree(positions_xyz_angstrom)
    pairs = tree.query_pairs((1 + _TOLERANCE) * distance_angstrom, output_type="ndarray")
    apart = (
        np.linalg.norm(np.subtract(*positions_xyz_angstrom[pairs.T]), axis=1) if len(pairs) else np.zeros(0)
    )
    good = apart >= (1 - _TOLERANCE) * distance_angstrom
    if axes is not None and len(pairs):
        cosine = np.einsum("ij,ij->i", axes[pairs[:, 0]], axes[pairs[:, 1]])
        good &= cosine >= np.cos(np.deg2rad(most_angle_deg))
    return np.bincount(pairs[good].ravel(), minlength=n)
