"""Radiation damage as a filter of frequency: Grant & Grigorieff, eLife 4:e06980 (2015)."""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["critical_exposure", "dose_weights", "mean_dose_weights", "power_normalisation", "voltage_factor"]


def voltage_factor(voltage_kv: float) -> float:
    """Critical exposure at a voltage relative to 300 kV.

    Linear between 1 at 300, 0.8 at 200 and 0.45 at 120 kV, constant beyond. 0.8 at 200 kV is Grant &
    Grigorieff's; the rest is the interpolation MotionCor3 uses.
    """
    return float(np.interp(voltage_kv, [120.0, 200.0, 300.0], [0.45, 0.8, 1.0]))


def critical_exposure(frequency_per_angstrom: ArrayLike, voltage_kv: float = 300.0) -> NDArray[np.float64]:
    """Exposure in e/A^2 that lowers a frequency's amplitude to ``exp(-1/2)``; infinite at frequency 0."""
    frequency = np.asarray(frequency_per_angstrom, dtype=np.float64)
    # 0.24499, -1.6649, 2.8141: fitted to rotavirus images at 300 kV, Grant & Grigorieff 2015, equation 3.
    with np.errstate(divide="ignore"):
        exposure = 0.24499 * frequency**-1.6649 + 2.8141
    return voltage_factor(voltage_kv) * exposure


def dose_weights(
    frequency_per_angstrom: ArrayLike, dose_per_angstrom2: ArrayLike, voltage_kv: float = 300.0
) -> NDArray[np.float64]:
    """Amplitude after a dose, ``exp(-N / 2 Ne)``; the two arrays broadcast."""
    dose = np.asarray(dose_per_angstrom2, dtype=np.float64)
    return np.exp(-dose / (2.0 * critical_exposure(frequency_per_angstrom, voltage_kv)))


def mean_dose_weights(
    frequency_per_angstrom: ArrayLike,
    dose_start_per_angstrom2: ArrayLike,
    dose_end_per_angstrom2: ArrayLike,
    voltage_kv: float = 300.0,
) -> NDArray[np.float64]:
    """Mean amplitude from a start to an end of exposure; the arrays broadcast.

    ``2 Ne (exp(-D0 / 2 Ne) - exp(-D1 / 2 Ne)) / (D1 - D0)``, which is what a sum over the exposure recorded.
    """
    start = np.asarray(dose_start_per_angstrom2, dtype=np.float64)
    half_dose = 0.5 * (np.asarray(dose_end_per_angstrom2, dtype=np.float64) - start)
    twice_critical = 2.0 * critical_exposure(frequency_per_angstrom, voltage_kv)
    # exp(-(D0 + h) / 2Ne) sinh(h / 2Ne) / (h / 2Ne), h half the dose: exact, and 1 for no dose at all.
    x = half_dose / twice_critical
    ratio = np.where(np.abs(x) > 1e-4, np.sinh(x) / np.where(x == 0, 1.0, x), 1.0 + x**2 / 6.0)
    return cast(NDArray[np.float64], np.exp(-(start + half_dose) / twice_critical) * ratio)


def power_normalisation(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights ``(frame, ...)`` over their rms along frames, so that weighted sums keep the noise power."""
    rms = np.sqrt(np.mean(weights**2, axis=0, keepdims=True))
    return cast(NDArray[np.float64], weights / np.maximum(rms, 1e-12))
