"""Weights of observations: Tukey's biweight with a scale per view, as in IMOD's tiltalign."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.tracks import Tracks

__all__ = ["residual_scale", "robust_weights"]

Array = NDArray[np.float64]

TUKEY_K = 4.685  # 95 % efficiency for normal errors
MEDIAN_OF_RAYLEIGH = 1.1774  # median length of a 2D normal vector of unit deviation per coordinate


def robust_weights(tracks: Tracks, residual: Array, k_factor: float) -> tuple[Array, Array]:
    """Weights for the normal equations and the biweight alone, ``(n_observations,)`` each.

    The scale of a view is its median residual, smoothed over its neighbours because few points give a poor
    median. The first also carries the view's precision, within limits.
    """
    length = np.hypot(residual[:, 0], residual[:, 1])
    scales = _view_scales(tracks, length)
    distance = length / np.maximum(TUKEY_K * k_factor * scales[tracks.view], 1e-9)
    biweight = np.where(distance < 1, (1 - np.minimum(distance, 1) ** 2) ** 2, 0.0)
    biweight = np.nan_to_num(biweight)
    typical = np.median(scales)
    precision = np.clip((typical / np.maximum(scales, 1e-9)) ** 2, 0.25, 4.0)[tracks.view]
    return biweight * tracks.weight * precision, biweight


def _view_scales(tracks: Tracks, length: Array) -> Array:
    """Deviation per coordinate of each view's residuals, ``(n_views,)``, smoothed over five views."""
    overall = _scale_of_lengths(length)
    raw, counts = np.full(tracks.n_views, overall), np.zeros(tracks.n_views)
    for view in range(tracks.n_views):
        values = length[(tracks.view == view) & np.isfinite(length) & (tracks.weight > 0)]
        counts[view] = len(values)
        if len(values) >= 3:
            raw[view] = np.median(values) / MEDIAN_OF_RAYLEIGH
    kernel = np.array([1.0, 2.0, 4.0, 2.0, 1.0])
    mass = np.convolve(np.sqrt(counts) + 1e-3, kernel, mode="same")
    smooth = np.convolve(raw * (np.sqrt(counts) + 1e-3), kernel, mode="same") / mass
    return np.maximum(smooth, 0.2 * overall + 1e-9)


def residual_scale(residual: Array) -> float:
    """Deviation per coordinate of residuals ``(n, 2)``, from their median length."""
    return _scale_of_lengths(np.hypot(residual[:, 0], residual[:, 1]))


def _scale_of_lengths(length: Array) -> float:
    known = length[np.isfinite(length)]
    return float(np.median(known) / MEDIAN_OF_RAYLEIGH) if len(known) else 1.0
