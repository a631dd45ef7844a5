"""A short filter that interpolates half-way between the samples of a row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["REACH", "half_sample_taps"]

REACH = 12
"""Chosen: samples used on either side."""
_LEAST_WEIGHT = 0.3
"""Chosen, of the largest: slow variations are interpolated well even if they are weak."""


def half_sample_taps(amplitude: NDArray[np.float64], largest_error: float) -> NDArray[np.float32] | None:
    """Taps with which ``sum_k taps[k] (row[i - k] + row[i + 1 + k])`` is the row at ``i + 1/2``; or None.

    amplitude : of what the rows hold, at frequencies evenly spaced from 0 to half a cycle per sample.
    largest_error : relative to the interpolated row, root mean square. None if it is exceeded: no short
    filter shifts frequencies near half a cycle per sample.

    Least squares: the taps' transfer function is ``2 sum_k taps[k] cos(2 pi f (k + 1/2))`` and should be 1.
    """
    frequency = np.linspace(0, 0.5, len(amplitude))
    transfer = 2 * np.cos(2 * np.pi * frequency[:, None] * (np.arange(REACH) + 0.5))
    # Slow parts must be interpolated even if rows hold little of them; half a cycle cannot be.
    weight = np.where(frequency < 0.25, np.maximum(amplitude, _LEAST_WEIGHT * amplitude.max()), amplitude)
    taps = np.linalg.lstsq(transfer * weight[:, None], weight, rcond=None)[0]
    error = np.linalg.norm((transfer @ taps - 1) * amplitude) / np.linalg.norm(amplitude)
    return taps.astype(np.float32) if error <= largest_error else None
