"""The maximum of evenly spaced samples, interpolated."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["highest_by_parabola", "vertex_offset"]


def vertex_offset(below: Any, here: Any, above: Any, *, reach: float = 0.5) -> Any:
    """Offset of the vertex of the parabola through three neighbours, in samples, within ``reach``.

    NumPy values or arrays, or torch tensors; 0 if the middle is not a maximum.
    """
    curvature = below - 2 * here + above
    is_flat = (curvature >= 0) * 1.0
    step = 0.5 * (below - above) / (curvature - is_flat * (curvature + 1.0))
    return (step * (1.0 - is_flat)).clip(-reach, reach)


def highest_by_parabola(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Position of the maximum of ``y`` at three or more evenly spaced ``x``, by a parabola at the largest."""
    best = int(np.clip(np.argmax(y), 1, len(x) - 2))
    below, here, above = y[best - 1 : best + 2]
    if below - 2 * here + above >= 0:
        return float(x[int(np.argmax(y))])
    return float(x[best] + vertex_offset(below, here, above, reach=1.0) * (x[1] - x[0]))
