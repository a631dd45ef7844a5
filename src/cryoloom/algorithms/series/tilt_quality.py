"""Dark and covered images of a tilt series, each relative to the others of its series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.slab_path import slab_path, slab_path_slope

__all__ = ["brightness_ratio", "counts_from_zero", "covered_fractions", "robust_trend"]

Array = NDArray[np.float64]

LEAST_DEVIATIONS = 1.0
"""Chosen: mean of an image over its deviation from which its values count electrons. Images at the pixels of
an alignment have 5 and more; images scaled to mean 0 have the rounding of their pixels, 1e-6."""


def robust_trend(x: Array, y: Array, degree: int, *, n_rounds: int = 8) -> Array:
    """Polynomial of ``x`` through most of ``y`` ``(n,)``; outliers are given no weight (biweight)."""
    finite = np.isfinite(y)
    weights = finite.astype(float)
    scale = max(float(np.abs(x).max()), 1e-9)
    fitted: Array = np.full(len(y), float(np.median(y[finite])))
    degree = min(degree, max(0, int(finite.sum()) - 3))
    for _ in range(n_rounds):
        misfit = np.where(finite, y - fitted, np.nan)
        spread = 1.4826 * float(np.nanmedian(np.abs(misfit))) + 1e-12
        distance = np.nan_to_num(np.abs(misfit) / (4.685 * spread), nan=np.inf)
        weights = np.where(distance < 1, (1 - np.minimum(distance, 1) ** 2) ** 2, 0.0)
        if (weights > 0).sum() <= degree + 1:
            break
        known = np.where(finite, y, 0.0)
        coefficients = np.polyfit(x / scale, known, degree, w=np.sqrt(weights))
        fitted = np.asarray(np.polyval(coefficients, x / scale), dtype=np.float64)
    return np.asarray(fitted)


def counts_from_zero(mean: Array, deviation: Array) -> bool:
    """Whether the values of images with these moments ``(n,)`` count electrons, from a zero.

    Images scaled to mean 0 do not: their means are rounding, and no ratio of them has a meaning.
    """
    return bool(np.median(mean - LEAST_DEVIATIONS * deviation) > 0) if len(mean) else False


def brightness_ratio(mean_counts: Array, tilt_deg: Array) -> Array:
    """Mean of each image over that expected from the others at its tilt, ``(n,)``.

    Transmission through a slab of thickness t is ``exp(-t / (mean free path cos(tilt)))``: its logarithm is
    linear in ``1 / cos``, and a pretilt adds a term in ``tan``.
    """
    bright = np.log(np.maximum(mean_counts, 1e-9 * max(float(np.max(mean_counts)), 1e-12)))
    tilt = np.deg2rad(np.clip(tilt_deg, -80, 80))
    terms = np.column_stack([np.ones(len(tilt)), slab_path(tilt) - 1, slab_path_slope(tilt)])
    weights = np.ones(len(tilt))
    fitted = np.full(len(tilt), np.median(bright))
    for _ in range(12):
        misfit = bright - fitted
        spread = max(1.4826 * float(np.median(np.abs(misfit))), 0.02)
        # Obstacles in the beam only reduce intensity: prefer the bright side.
        distance = np.abs(misfit) / (3.0 * spread) * np.where(misfit < 0, 1.5, 1.0)
        weights = np.where(distance < 1, (1 - np.minimum(distance, 1) ** 2) ** 2, 0.0)
        if (weights > 0).sum() < 4:
            break
        root = np.sqrt(weights)[:, None]
        # A small ridge term keeps the two slopes at 0 if the tilts cannot separate them.
        normal = (terms * root).T @ (terms * root) + np.diag([0.0, 1e-3, 1e-3])
        fitted = terms @ np.linalg.solve(normal, (terms * root).T @ (bright * root[:, 0]))
    return np.exp(bright - fitted)


def covered_fractions(blocks: Array, dark_below: float = 0.5) -> Array:
    """Fraction of each image ``(n,)`` that something blocks, from block means ``(n, by, bx)``.

    A block is covered if it has less than ``dark_below`` of the brightest tenth of the image's blocks.
    """
    flat = blocks.reshape(len(blocks), -1)
    bright = np.quantile(flat, 0.9, axis=1, keepdims=True)
    return np.asarray((flat < dark_below * np.maximum(bright, 1e-12)).mean(axis=1))
