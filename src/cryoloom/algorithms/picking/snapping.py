"""A surface moved onto the density: each place slides along its normal to where its profile fits best.

The mean profile of all places, aligned repeatedly, is the reference; a place uses its neighbours' profiles as
well, because one profile is mostly noise, and offsets that differ from those around are pulled back. The mean
offset stays 0: the picks define which layer is meant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from cryoloom.algorithms.images.parabola import vertex_offset
from cryoloom.geometry.frames import index_from_position

__all__ = ["Snapped", "snap_to_density"]

Array = NDArray[np.float64]

_ROUNDS = 8  # chosen: most rounds; it ends when no place moves by a tenth of a step
_NEIGHBOURS = 12  # chosen: whose profiles a place uses: the first two rings of a hexagonal lattice
_SETTLED_STEPS = 0.1
"""Chosen: rounds end when no offset moves by more than this part of a step."""


@dataclass(frozen=True, slots=True)
class Snapped:
    """Offset of each place along its normal, and its quality of fit."""

    offsets_angstrom: Array
    """``(n,)``, smoothed over the surface."""
    correlation: Array
    """Correlation of each profile, averaged over its neighbours, with the mean profile, -1 to 1, ``(n,)``."""
    residual_sd_angstrom: float
    """Deviation of single offsets from the smooth ones: unevenness of the layer, or noise."""


def snap_to_density(
    volume: NDArray[np.float32],
    voxel_size_angstrom: float,
    positions_xyz_angstrom: Array,
    normals: Array,
    *,
    reach_angstrom: float,
    layer_angstrom: float = 60.0,
) -> Snapped:
    """Offsets of places ``(n, 3)`` along their normals ``(n, 3)``, at most ``reach_angstrom``.

    volume : (z, y, x), centre at index ``n // 2``. layer_angstrom : half the thickness of the compared layer.
    """
    step = 0.5 * voxel_size_angstrom
    half = math.ceil((reach_angstrom + layer_angstrom) / step)
    heights: Array = np.arange(-half, half + 1, dtype=np.float64) * step
    profiles = _profiles(volume, voxel_size_angstrom, positions_xyz_angstrom, normals, heights)
    n = len(profiles)
    near = cKDTree(positions_xyz_angstrom).query(positions_xyz_angstrom, k=min(n, _NEIGHBOURS + 1))[1]
    near = near.reshape(n, -1)
    alike = np.einsum("nki,ni->nk", normals[near], normals)
    weights = np.clip(alike, 0, None) ** 2
    weights[:, 0] = 1.0
    reach = math.ceil(reach_angstrom / step)
    offsets = np.zeros(n)
    correlation, single = np.zeros(n), np.zeros(n)
    for _ in range(_ROUNDS):
        aligned = _moved(profiles, offsets / step)
        wanted = aligned.mean(axis=0)[reach : len(heights) - reach]
        shared = np.einsum("nk,nki->ni", weights, aligned[near]) / weights.sum(axis=1, keepdims=True)
        scores = _correlations(shared, wanted)
        best = np.argmax(scores, axis=1)
        correlation = scores[np.arange(n), best]
        single = np.clip(
            offsets + (best + _parabola(scores, best) - reach) * step, -reach_angstrom, reach_angstrom
        )
        trust = weights * np.clip(correlation[near], 0.05, None)
        smooth = _weighted_medians(single[near], trust)
        smooth = np.einsum("nk,nk->n", trust, smooth[near]) / trust.sum(axis=1)
        smooth -= smooth.mean()
        if np.abs(smooth - offsets).max() < _SETTLED_STEPS * step:
            break
        offsets = smooth
    return Snapped(offsets, correlation, float(1.4826 * np.median(np.abs(single - single.mean() - offsets))))


def _profiles(
    volume: NDArray[np.float32], voxel: float, positions: Array, normals: Array, heights: Array
) -> Array:
    """Density ``(n, height)`` along the normals, each over a disc of a voxel's radius, without its mean."""
    side = np.cross(normals, np.eye(3)[np.argmin(np.abs(normals), axis=1)])
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(normals, side)
    total = np.zeros((len(positions), len(heights)))
    for a, b in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        start = positions + voxel * (a * side + b * other)
        places = start[:, None] + heights[:, None] * normals[:, None]
        index = index_from_position(places.reshape(-1, 3), volume.shape, voxel)
        total += map_coordinates(volume, index.T, order=1, mode="nearest").reshape(total.shape)
    return total / 5 - (total / 5).mean(axis=1, keepdims=True)


def _moved(profiles: Array, offsets_steps: Array) -> Array:
    """Profiles read at heights moved by offsets in steps."""
    n, m = profiles.shape
    at = np.arange(m) + offsets_steps[:, None]
    lower = np.clip(np.floor(at).astype(int), 0, m - 2)
    part = np.clip(at - lower, 0, 1)
    rows = np.arange(n)[:, None]
    return np.asarray((1 - part) * profiles[rows, lower] + part * profiles[rows, lower + 1])


def _correlations(profiles: Array, wanted: Array) -> Array:
    """Correlation of each profile with the wanted profile at every shift, ``(n, shift)``."""
    windows = np.lib.stride_tricks.sliding_window_view(profiles, len(wanted), axis=1)
    flat = wanted - wanted.mean()
    spread = windows.std(axis=2) * math.sqrt(len(wanted)) * max(float(np.linalg.norm(flat)), 1e-12)
    return np.asarray((windows @ flat) / np.maximum(spread, 1e-12))


def _parabola(scores: Array, best: NDArray[np.int64]) -> Array:
    """Place of the highest score between shifts, within half of one."""
    rows, inner = np.arange(len(best)), np.clip(best, 1, scores.shape[1] - 2)
    before, here, after = (scores[rows, inner + k] for k in (-1, 0, 1))
    return np.where(best == inner, vertex_offset(before, here, after), 0.0)


def _weighted_medians(values: Array, weights: Array) -> Array:
    order = np.argsort(values, axis=1)
    sorted_weights = np.take_along_axis(weights, order, axis=1)
    half = 0.5 * sorted_weights.sum(axis=1, keepdims=True)
    at = np.argmax(np.cumsum(sorted_weights, axis=1) >= half, axis=1)
    return np.asarray(np.take_along_axis(values, order, axis=1)[np.arange(len(values)), at])
