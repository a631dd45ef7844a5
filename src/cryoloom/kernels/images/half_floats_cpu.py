"""16-bit floats to 32 bits and back on the CPU: numba loops that become vector instructions of any processor.

NumPy converts one value after the other, and takes 25 times as long for those below 6e-5, which the voxels of
many tomograms are.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["floats_from_halves_numba", "halves_from_floats_numba"]

_CHUNK = 2048
"""Values converted at a time: each loop over them finds them in the first-level cache."""
_Words = NDArray[np.uint32]


@numba.njit(error_model="numpy", nogil=True, cache=True)
def floats_from_halves_numba(halves: NDArray[np.uint16], values: NDArray[np.float32]) -> None:
    """See `cryoloom.kernels.images.half_floats.floats_from_halves`; halves are their bits as uint16."""
    words = values.view(np.uint32)
    for start in range(0, len(halves), _CHUNK):
        here = slice(start, min(len(halves), start + _CHUNK))
        _widen(halves[here], words[here], values[here])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _widen(halves: NDArray[np.uint16], words: _Words, values: NDArray[np.float32]) -> None:
    """Words and values are the same memory."""
    for i in range(len(halves)):
        words[i] = (np.uint32(halves[i]) & np.uint32(0x7FFF)) << np.uint32(13)
    for i in range(len(halves)):
        values[i] *= np.float32(2.0**112)  # exponents are biased by 15 and by 127
    for i in range(len(halves)):
        half = np.uint32(halves[i])
        no_number = np.uint32(0x7F800000) if (half & np.uint32(0x7C00)) == 0x7C00 else np.uint32(0)
        words[i] |= ((half & np.uint32(0x8000)) << np.uint32(16)) | no_number


@numba.njit(error_model="numpy", nogil=True, cache=True)
def halves_from_floats_numba(values: NDArray[np.float32], halves: NDArray[np.uint16]) -> None:
    """See `cryoloom.kernels.images.half_floats.halves_from_floats`; halves are their bits as uint16."""
    words = values.view(np.uint32)
    rounded = np.empty(_CHUNK, np.float32)
    for start in range(0, len(values), _CHUNK):
        here = slice(start, min(len(values), start + _CHUNK))
        n = here.stop - here.start
        _narrow(values[here], words[here], rounded[:n], rounded.view(np.uint32)[:n], halves[here])


@numba.njit(error_model="numpy", nogil=True, cache=True)
def _narrow(
    values: NDArray[np.float32],
    words: _Words,
    rounded: NDArray[np.float32],
    rounded_words: _Words,
    halves: NDArray[np.uint16],
) -> None:
    """To a power of two whose last place is that of a half the value is added: the addition rounds it."""
    for i in range(len(values)):
        rounded_words[i] = _exponent(words[i]) + np.uint32(0x06800000)  # 2^13 times as large
    for i in range(len(values)):
        rounded[i] += min(abs(values[i]), np.float32(131072.0))
    for i in range(len(values)):
        word = words[i]
        exponent = _exponent(word)
        rest = rounded_words[i] - (exponent + np.uint32(0x06800000))
        half = min(((exponent - np.uint32(0x38800000)) >> np.uint32(13)) + rest, np.uint32(0x7C00))
        if (word & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
            half = np.uint32(0x7E00)
        halves[i] = half | ((word >> np.uint32(16)) & np.uint32(0x8000))


@numba.njit(error_model="numpy", nogil=True, inline="always")
def _exponent(word: np.uint32) -> np.uint32:
    """A float's exponent, from 2^-14, below which halves have steps of one size, to 2^16, infinite anyway."""
    exponent = max(word & np.uint32(0x7F800000), np.uint32(0x38800000))
    return min(exponent, np.uint32(0x47800000))
