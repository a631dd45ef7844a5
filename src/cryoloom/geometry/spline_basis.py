"""Cubic B-splines: clamped over an interval for smooth fields, periodic on the pixel grid for images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clamped_spline_basis", "cubic_spline_transfer"]


def clamped_spline_basis(position: NDArray[np.float64], n_control: int) -> NDArray[np.float64]:
    """Basis ``(position, control)``, cubic with enough controls, at positions 0 to 1; clipped there."""
    if n_control == 1:
        return np.ones((len(position), 1))
    from scipy.interpolate import (
        BSpline,
    )  # imported here, because it takes two seconds and few readers of the model need it

    degree = min(3, n_control - 1)
    inner = np.linspace(0.0, 1.0, n_control - degree + 1)
    knots = np.concatenate([np.zeros(degree), inner, np.ones(degree)])
    return np.asarray(BSpline.design_matrix(np.clip(position, 0.0, 1.0), knots, degree).toarray())


def cubic_spline_transfer(n: int) -> NDArray[np.float64]:
    """Spectrum of samples over that of their cubic B-splines' weights along one axis, ``(n,)``, periodic."""
    return (2 + np.cos(2 * np.pi * np.fft.fftfreq(n))) / 3
