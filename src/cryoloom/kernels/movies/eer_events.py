"""Decode electron events of a Falcon's EER frame straight into an image of counts, on the CPU.

A run length decides where the next one begins, so that a frame is read from its first bit to its last: there
is no version for CUDA. Frames are decoded on several threads.
"""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.kernels.movies.eer_events_cpu import add_events_numba
from cryoloom.kernels.tensors import expect_cpu

__all__ = ["add_events"]


def add_events(
    words: torch.Tensor,
    n_bits: int,
    counts: torch.Tensor,
    width: int,
    n_pixels: int,
    skip_bits: int,
    horz_bits: int,
    vert_bits: int,
    log2_sampling: int,
) -> int:
    """Add a frame's events to ``counts`` and return their number, or -1 where a run leaves the image.

    words : (k,) int64, the bits of the stream in little-endian 64-bit words with one word of zeros behind it;
    ``n_bits`` is its length. counts : (pixel,) uint8, the flat image, ``(width << log2_sampling)`` wide;
    ``n_pixels`` counts the camera's own pixels.
    """
    expect_cpu("add_events", words, counts)
    if words.dtype != torch.int64 or counts.dtype != torch.uint8:
        raise TypeError(f"expected int64 words and uint8 counts, got {words.dtype} and {counts.dtype}")
    if 64 * (len(words) - 1) < n_bits or len(counts) < n_pixels << (2 * log2_sampling):
        raise ValueError(
            f"{n_bits} bits or {n_pixels} pixels do not fit {len(words)} words, {len(counts)} counts"
        )
    return add_events_numba(
        words.numpy().view(np.uint64), n_bits, counts.numpy(), width, n_pixels, skip_bits, horz_bits,
        vert_bits, log2_sampling,
    )  # fmt: skip
