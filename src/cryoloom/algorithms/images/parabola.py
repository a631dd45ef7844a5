"""The maximum of samples at even distances, between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["highest_by_parabola"]


def highest_by_parabola(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Where ``y``, of three or more evenly spaced ``x``, is highest: by a parabola about its highest."""
    best = int(np.clip(np.argmax(y), 1, len(x) - 2))
    below, here, above = y[best - 1 : best + 2]
    curvature = below - 2 * here + above
    if curvature >= 0:
        return float(x[int(np.argmax(y))])
    return float(x[best] + np.clip(0.5 * (below - above) / curvature, -1, 1) * (x[1] - x[0]))
