"""Electron events decoded from a stream that is written bit by bit here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.movies.eer_events import add_events

WIDTH, HEIGHT = 16, 12
SKIP, SUB = 4, 2


def stream(events, n_pixels):
    """Words of events ``(pixel, y_sub, x_sub)``; 4 bits of run length, 2 and 2 bits within the pixel."""
    bits = []
    at = 0

    def put(value, n):
        bits.extend((value >> i) & 1 for i in range(n))

    for pixel, y_sub, x_sub in events:
        skip = pixel - at
        while skip >= 15:
            put(15, SKIP)
            skip -= 15
        put(skip, SKIP)
        put(x_sub ^ 2, SUB)
        put(y_sub ^ 2, SUB)
        at = pixel + 1
    skip = n_pixels - at
    while skip >= 15:
        put(15, SKIP)
        skip -= 15
    put(skip, SKIP)
    put(0, 2 * SUB)
    words = np.zeros(len(bits) // 64 + 2, np.uint64)
    for i, bit in enumerate(bits):
        words[i >> 6] |= np.uint64(bit << (i & 63))
    return torch.from_numpy(words.view(np.int64)), len(bits)


@pytest.mark.parametrize("log2_sampling", [0, 1, 2])
def test_events_are_counted_where_they_hit(rng, log2_sampling):
    pixels = np.sort(rng.choice(WIDTH * HEIGHT, 40, replace=False))
    events = [(int(p), int(rng.integers(4)), int(rng.integers(4))) for p in pixels]
    words, n_bits = stream(events, WIDTH * HEIGHT)
    scale = 1 << log2_sampling
    counts = torch.zeros(WIDTH * HEIGHT * scale**2, dtype=torch.uint8)
    n = add_events(words, n_bits, counts, WIDTH, WIDTH * HEIGHT, SKIP, SUB, SUB, log2_sampling)
    assert n == 40
    expected = np.zeros((HEIGHT * scale, WIDTH * scale), np.uint8)
    for pixel, y_sub, x_sub in events:
        y, x = divmod(pixel, WIDTH)
        expected[y * scale + y_sub * scale // 4, x * scale + x_sub * scale // 4] += 1
    np.testing.assert_array_equal(counts.reshape(expected.shape), expected)


def test_a_run_that_leaves_the_image_is_reported():
    words, n_bits = stream([(3, 0, 0)], WIDTH * HEIGHT)
    counts = torch.zeros(8, dtype=torch.uint8)
    assert add_events(words, n_bits, counts, 4, 8, SKIP, SUB, SUB, 0) == -1


def test_types_and_sizes_are_checked():
    words, counts = torch.zeros(2, dtype=torch.int64), torch.zeros(8, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"uint8 counts, got torch.int64 and torch.int32"):
        add_events(words, 64, counts.int(), 4, 8, SKIP, SUB, SUB, 0)
    with pytest.raises(ValueError, match="65 bits or 8 pixels do not fit 2 words"):
        add_events(words, 65, counts, 4, 8, SKIP, SUB, SUB, 0)
    with pytest.raises(ValueError, match="add_events runs on the CPU"):
        add_events(words.to("meta"), 64, counts.to("meta"), 4, 8, SKIP, SUB, SUB, 0)
