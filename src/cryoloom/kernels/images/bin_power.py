"""Power of a spectrum summed in bins: one numba loop."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["bin_power"]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def bin_power(spectrum: NDArray[np.complex64], bins: NDArray[np.int32], power: NDArray[np.float64]) -> None:
    """Add the squared magnitudes of ``spectrum`` ``(n,)`` to the bins they belong to.

    bins : (n,), which value of ``power`` each goes to; those of -1 are left out.
    """
    for i in range(len(spectrum)):
        at = bins[i]
        if at >= 0:
            value = spectrum[i]
            power[at] += np.float64(value.real) * value.real + np.float64(value.imag) * value.imag
