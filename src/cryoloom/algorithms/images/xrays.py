"""Find and erase X-ray hits: small spots much brighter than everything around them.

The method (a spot exceeds an annulus around it by many local standard deviations, is grown, and is filled
from its surroundings) is that of IMOD's ccderaser. Two differences keep gold beads safe: only bright spots
count, and a spot must be brighter than all of its annulus, unlike an edge of a bead or of carbon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.kernels.movies.bright_pixels import patch_levels, pixels_above
from cryoloom.kernels.tensors import tensor_over

__all__ = ["XrayCriteria", "fill_from_surroundings", "find_xrays"]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]

_PATCH = 64
"""Chosen: pixels over which brightness and noise hardly change, and enough of them for a median."""


@dataclass(frozen=True, slots=True)
class XrayCriteria:
    """Brightness in local standard deviations, and size in pixels."""

    peak_sigma: float = 10.0
    """Above the mean of the annulus, for a spot."""
    difference_sigma: float = 10.0
    """Above the mean of the eight neighbours, for a single pixel."""
    grow_sigma: float = 4.0
    """Above the mean of the annulus, for what belongs to a spot."""
    radius_px: float = 2.5
    """Largest radius of a spot."""
    giant_sigma: float = 12.0
    """Above the mean of a wider annulus, for a large spot."""
    giant_radius_px: float = 8.0


def find_xrays(image: Image, criteria: XrayCriteria) -> Mask:
    """Pixels ``(y, x)`` that an X-ray has hit."""
    edges = [_patch_edges(n) for n in image.shape]
    level, sigma = np.empty((2, len(edges[0]) - 1, len(edges[1]) - 1), np.float32)
    pixels, edges_y, edges_x = tensor_over(image), torch.from_numpy(edges[0]), torch.from_numpy(edges[1])
    patch_levels(pixels, edges_y, edges_x, torch.from_numpy(level), torch.from_numpy(sigma))
    sigma = np.maximum(sigma, np.float32(1e-6 + 0.1 * float(np.median(sigma))))
    least = min(criteria.peak_sigma, criteria.difference_sigma, criteria.giant_sigma)
    hit = np.zeros(image.shape, dtype=bool)
    most = int(0.01 * image.size)
    candidates = np.empty((most + 1, 2), np.int64)
    threshold = torch.from_numpy(level + np.float32(0.7 * least) * sigma)
    n_candidates = pixels_above(pixels, edges_y, edges_x, threshold, torch.from_numpy(candidates))
    if n_candidates == 0 or n_candidates > most:
        return hit  # this many bright pixels are a bright object, not X-rays
    candidates = candidates[:n_candidates]
    row, column = (
        np.searchsorted(edge, candidates[:, axis], side="right") - 1 for axis, edge in enumerate(edges)
    )
    spread = sigma[row, column]
    _mark_spots(image, candidates, spread, criteria.radius_px, criteria.peak_sigma, criteria, hit)
    _mark_spots(image, candidates, spread, criteria.giant_radius_px, criteria.giant_sigma, criteria, hit)
    neighbours = _values(image, candidates, _annulus(1.0, 1.5))
    above = image[candidates[:, 0], candidates[:, 1]] - neighbours.mean(axis=1)
    single = candidates[above > criteria.difference_sigma * spread]
    hit[single[:, 0], single[:, 1]] = True
    return hit


def _patch_edges(n: int) -> NDArray[np.int64]:
    """Borders of patches of about 64 pixels along a side of ``n``."""
    return np.linspace(0, n, max(1, round(n / _PATCH)) + 1).astype(np.int64)


def _annulus(inner_px: float, outer_px: float) -> NDArray[np.int64]:
    """Offsets (n, 2) of pixels whose distance from a centre lies in a range, the borders included."""
    reach = int(outer_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(y, x)
    return np.argwhere((distance >= inner_px) & (distance <= outer_px)) - reach


def _places(
    shape_yx: tuple[int, ...], centres: NDArray[np.int64], offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns at offsets around centres, each ``(centre, offset)``; at most at the border."""
    y = np.clip(centres[:, :1] + offsets[None, :, 0], 0, shape_yx[0] - 1)
    x = np.clip(centres[:, 1:] + offsets[None, :, 1], 0, shape_yx[1] - 1)
    return y, x


def _values(image: Image, centres: NDArray[np.int64], offsets: NDArray[np.int64]) -> Image:
    """Pixels at offsets around centres, ``(centre, offset)``; beyond the border its nearest pixel."""
    return image[_places(image.shape, centres, offsets)]


def _mark_spots(
    image: Image,
    candidates: NDArray[np.int64],
    spread: Image,
    radius_px: float,
    peak_sigma: float,
    criteria: XrayCriteria,
    hit: Mask,
) -> None:
    """Mark spots up to a radius: much brighter than the mean of their annulus, and than all of it."""
    annulus = _values(image, candidates, _annulus(radius_px + 1.0, radius_px + 3.0))
    mean = annulus.mean(axis=1)
    value = image[candidates[:, 0], candidates[:, 1]]
    # 3 sigma more than the brightest of some 40 pixels of noise, which lies 2.5 sigma above their mean.
    is_spot = (value > mean + peak_sigma * spread) & (value > annulus.max(axis=1) + 3.0 * spread)
    if not is_spot.any():
        return
    disc = _annulus(0.0, radius_px)
    centres = candidates[is_spot]
    bright = _values(image, centres, disc) > (mean + criteria.grow_sigma * spread)[is_spot][:, None]
    y, x = _places(image.shape, centres, disc)
    hit[y[bright], x[bright]] = True


def fill_from_surroundings(
    hit: Mask, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat indices of the pixels hit, and of the pixels nearby whose values take their place.

    Each gets the value of another pixel, drawn at random from as near as possible, so that the noise is
    preserved. With the same choice for an image and its halves, the halves still add up to the whole.
    """
    n_y, n_x = hit.shape
    y, x = np.nonzero(hit)
    target = y * n_x + x
    source = target.copy()
    waiting = np.ones(len(target), dtype=bool)
    for attempt in range(200):
        if not waiting.any():
            break
        reach = 2 + attempt // 2
        offset = rng.integers(-reach, reach + 1, size=(2, int(waiting.sum())))
        near_y = np.clip(y[waiting] + offset[0], 0, n_y - 1)
        near_x = np.clip(x[waiting] + offset[1], 0, n_x - 1)
        source[waiting] = near_y * n_x + near_x
        waiting = hit.ravel()[source]
    return target, source
