"""Heat maps of particles: the target of a network, and positions from its prediction.

The target is a Gaussian at every picked position. Boxes for training are drawn half about picks and half
anywhere, and mirrored along their axes, which changes neither the missing wedge nor where particles are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import nn

from cryoloom.algorithms.picking.candidates import keep_apart

__all__ = [
    "LabelledVolume",
    "best_threshold",
    "boxes_of",
    "heat_loss",
    "heat_map",
    "hits",
    "peaks_of",
    "predicted_heat",
]

Array = NDArray[np.float64]
Volume = NDArray[np.float32]

_POSITIVE_WEIGHT = 20.0  # chosen: of voxels at picks, which are few among empty ones
_STEP = 4
"""Sides of a box are multiples of it: the network halves its grid twice."""
_TRIED = np.linspace(0.1, 0.9, 17)
"""Chosen: heights of a peak at which picks are compared with those kept out."""


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """A normalised volume ``(z, y, x)``, its picks ``(n, 3)`` as indices, and columns x that may be used."""

    volume: Volume
    target: Volume
    picks_zyx: Array
    x_range: tuple[int, int]
    diameter_voxels: float


def heat_map(shape: tuple[int, ...], picks_zyx: Array, sd_voxels: float) -> Volume:
    """Volume with a Gaussian of height 1 at every pick; where two meet the larger value stays."""
    heat = np.zeros(shape, np.float32)
    reach = int(np.ceil(3.0 * sd_voxels))
    for pick in picks_zyx:
        low = np.maximum(np.rint(pick).astype(int) - reach, 0)
        high = np.minimum(np.rint(pick).astype(int) + reach + 1, shape)
        if (low >= high).any():
            continue
        grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        squared = sum((grid - place) ** 2 for grid, place in zip(grids, pick, strict=True))
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        heat[box] = np.maximum(heat[box], np.exp(-0.5 * squared / sd_voxels**2))
    return heat


def boxes_of(
    volumes: Sequence[LabelledVolume], n: int, side: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes ``(n, 1, side, side, side)`` and their targets; volumes smaller than the box are padded by 0."""
    images, targets = np.zeros((2, n, side, side, side), np.float32)
    for i in range(n):
        one = volumes[int(rng.integers(len(volumes)))]
        first, last = one.x_range
        within = one.picks_zyx[(one.picks_zyx[:, 2] >= first) & (one.picks_zyx[:, 2] < last)]
        if i % 2 == 0 and len(within):
            middle = within[int(rng.integers(len(within)))] + rng.uniform(-0.3, 0.3, 3) * side
        else:
            middle = rng.uniform([0, 0, first], [*one.volume.shape[:2], last])
        start = np.rint(middle - side / 2).astype(int)
        lowest, highest = np.array([0, 0, first]), np.array([*one.volume.shape[:2], last])
        start = np.maximum(np.minimum(start, highest - side), lowest)
        here = tuple(slice(a, min(a + side, b)) for a, b in zip(start, highest, strict=True))
        size = tuple(slice(0, one.stop - one.start) for one in here)
        images[i][size], targets[i][size] = one.volume[here], one.target[here]
        for axis in range(3):
            if rng.random() < 0.5:
                images[i], targets[i] = np.flip(images[i], axis), np.flip(targets[i], axis)
    return torch.from_numpy(images)[:, None], torch.from_numpy(targets)[:, None]


def heat_loss(network: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared difference, in which places of particles count more: they are one in a hundred.

    The network predicts a correction of its input; the correction is the heat map.
    """
    found = network(images) - images
    return torch.mean((found - targets) ** 2 * (1.0 + _POSITIVE_WEIGHT * targets))


def predicted_heat(network: nn.Module, volume: Volume, device: str, tile: int, margin: int) -> Volume:
    """Heat map of a volume ``(z, y, x)``, in tiles; a margin contains what a voxel depends on."""
    heat = np.zeros_like(volume)
    network.eval()
    shape = np.array(volume.shape)
    with torch.no_grad():
        for start in np.ndindex(*(-(-n // tile) for n in volume.shape)):
            low = np.array(start) * tile
            high = np.minimum(low + tile, shape)
            first, last = np.maximum(low - margin, 0), np.minimum(high + margin, shape)
            box = np.zeros(tuple(-(-(last - first) // _STEP) * _STEP), np.float32)
            box[tuple(slice(0, n) for n in last - first)] = volume[_span(first, last)]
            given = torch.from_numpy(box)[None, None].to(device)
            made = (network(given) - given)[0, 0].cpu().numpy()
            heat[_span(low, high)] = made[_span(low - first, high - first)]
    return heat


def _span(first: NDArray[np.int64], last: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


def peaks_of(heat: Volume, apart_voxels: float, least: float) -> tuple[Array, Array]:
    """Maxima ``(n, 3)`` of a heat map and their heights, highest first, none nearer than a distance."""
    side = 2 * int(max(1, apart_voxels // 2)) + 1
    at = np.argwhere((heat == maximum_filter(heat, side)) & (heat >= least))
    heights = heat[tuple(at.T)].astype(np.float64)
    order = np.argsort(-heights, kind="stable")
    places, heights = at[order].astype(np.float64), heights[order]
    kept = keep_apart(places, apart_voxels) if len(places) else np.zeros(0, np.int64)
    return places[kept], heights[kept]


def hits(found: Array, true: Array, reach: float) -> int:
    """How many places are found, each by one other within a reach at most."""
    if not len(found) or not len(true):
        return 0
    near = cdist(found, true) <= reach
    rows, columns = linear_sum_assignment(-near.astype(float))
    return int(near[rows, columns].sum())


def best_threshold(places: Array, heights: Array, true: Array, reach: float) -> tuple[float, float, float]:
    """Height above which places agree best with true ones (F1), and recall and precision there."""
    best = (-1.0, 0.5, 0.0, 0.0)
    for least in _TRIED:
        found = places[heights >= least]
        n_hits = hits(found, true, reach)
        recall, precision = n_hits / max(len(true), 1), n_hits / max(len(found), 1)
        score = 2.0 * recall * precision / max(recall + precision, 1e-9)
        if score > best[0]:
            best = (score, float(least), recall, precision)
    return best[1:]
