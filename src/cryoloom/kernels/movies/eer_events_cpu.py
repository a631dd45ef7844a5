"""Decode electron events of a Falcon's EER frame on the CPU: one numba loop over the stream.

The stream is read from the least significant bit: a run length of ``skip_bits`` (all ones: no event, the run
goes on), then the place within the pixel, ``horz_bits`` and ``vert_bits``, with the top bit inverted. The
next run starts on the pixel after the event (EER file format documentation 3.0, 2023). A pixel has at most
one event a frame, so that bytes hold the sum of 255 frames.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_events_numba"]


@numba.njit(nogil=True, cache=True)
def add_events_numba(
    words: NDArray[np.uint64],
    n_bits: int,
    counts: NDArray[np.uint8],
    width: int,
    n_pixels: int,
    skip_bits: int,
    horz_bits: int,
    vert_bits: int,
    log2_sampling: int,
) -> int:
    """See `cryoloom.kernels.movies.eer_events.add_events`; the same on NumPy arrays."""
    one = np.uint64(1)
    skip_mask = (one << np.uint64(skip_bits)) - one
    horz_mask = (one << np.uint64(horz_bits)) - one
    vert_mask = (one << np.uint64(vert_bits)) - one
    horz_top, vert_top = one << np.uint64(horz_bits - 1), one << np.uint64(vert_bits - 1)
    horz_shift, vert_shift = np.uint64(horz_bits - log2_sampling), np.uint64(vert_bits - log2_sampling)
    code_bits = skip_bits + horz_bits + vert_bits
    row = width << log2_sampling
    bit, n_events = 0, 0
    pixel = np.int64(0)
    last = n_bits - code_bits
    while bit <= last:
        i, shift = bit >> 6, np.uint64(bit & 63)
        # Two shifts, since one by 64 is undefined.
        word = (words[i] >> shift) | ((words[i + 1] << one) << (np.uint64(63) - shift))
        skip = word & skip_mask
        pixel += np.int64(skip)
        if pixel >= n_pixels:
            return n_events if pixel == n_pixels else -1
        if skip == skip_mask:
            bit += skip_bits
            continue
        if log2_sampling == 0:
            counts[pixel] += np.uint8(1)
        else:
            word >>= np.uint64(skip_bits)
            x_sub = np.int64(((word & horz_mask) ^ horz_top) >> horz_shift)
            word >>= np.uint64(horz_bits)
            y_sub = np.int64(((word & vert_mask) ^ vert_top) >> vert_shift)
            y = pixel // width
            x = pixel - y * width
            counts[((y << log2_sampling) + y_sub) * row + (x << log2_sampling) + x_sub] += np.uint8(1)
        pixel += 1
        n_events += 1
        bit += code_bits
    return n_events
