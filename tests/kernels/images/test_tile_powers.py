"""Power of tiles in bins beside sums over every tile's own spectrum, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.kernels.images import tile_powers as door
from cryoloom.kernels.images.tile_powers import tile_powers

EDGE, N_BINS = 16, 5
N_FREQUENCIES = EDGE * (EDGE // 2 + 1)


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


def test_powers_are_added_to_their_bins(rng):
    image = rng.normal(5, 2, (40, 50)).astype(np.float32)
    bins = rng.integers(-1, N_BINS - 1, N_FREQUENCIES).astype(np.int32)
    window = np.outer(np.hanning(EDGE), np.hanning(EDGE)).astype(np.float32)
    starts_y, starts_x = [0, 11, 24], [3, 34]
    found = tile_powers(
        torch.from_numpy(image), starts_y, starts_x, torch.from_numpy(window), torch.from_numpy(bins), N_BINS
    )
    assert found.dtype == torch.float32
    expected = []
    for y in starts_y:
        for x in starts_x:
            tile = image[y : y + EDGE, x : x + EDGE].astype(float)
            power = np.abs(np.fft.rfft2((tile - tile.mean()) * window)).ravel() ** 2
            expected.append([power[bins == i].sum() for i in range(N_BINS)])
    assert_allclose(found, expected, rtol=1e-4)
    assert (found[:, N_BINS - 1] == 0).all()


def test_tiles_and_bins_must_fit():
    image, window = torch.zeros((40, 50)), torch.ones((EDGE, EDGE))
    bins = torch.zeros(N_FREQUENCIES, dtype=torch.int32)
    with pytest.raises(ValueError, match="tiles of 16 pixels leave an image"):
        tile_powers(image, [25], [0], window, bins, N_BINS)
    with pytest.raises(ValueError, match="a bin for each of 144 frequencies"):
        tile_powers(image, [0], [0], window, bins[1:], N_BINS)
