"""Whether values lose anything when they are stored as 16-bit floats (MRC mode 12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["keeps_half_precision"]

_LARGEST = 65504.0
"""IEEE 754 binary16."""
_HEADROOM = 16.0
"""Chosen: other images of a series may be so much brighter."""
_MOST_NOISE = 1e-4
"""Fraction of the variance. Counts of N electrons have the variance N.

From N = 2048 on steps are 2 wide, a third in
variance."""
_MOST_SAMPLES = 1 << 20
"""Chosen: values that are used; a million give the variance to about a thousandth."""


def keeps_half_precision(values: NDArray[np.float32]) -> bool:
    """Whether rounding to 16 bits adds less than a ten-thousandth of the variance, and nothing overflows.

    values : finite, any shape. All being one value, they are kept.
    """
    step = max(1, values.size // _MOST_SAMPLES)
    sample = np.ravel(values)[::step].astype(np.float64)
    if float(np.abs(values).max()) * _HEADROOM > _LARGEST:
        return False
    error = sample.astype(np.float16).astype(np.float64) - sample
    return bool(np.mean(error**2) <= _MOST_NOISE * sample.var())
