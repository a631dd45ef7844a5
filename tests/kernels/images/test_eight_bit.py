"""Sections mapped to 8 bits and halved, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images import eight_bit as door
from cryoloom.kernels.images.eight_bit import halve_eight_bit, mean_across, to_eight_bit


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    return request.param


def test_the_range_is_mapped_linearly_and_rounded():
    section = torch.tensor([[-3.0, 1.0, 2.0], [3.0, 9.0, torch.nan]])
    out = torch.full((2, 3), 7, dtype=torch.uint8)
    to_eight_bit(section, 1.0, 3.0, out)
    # 2 is half-way, at 127.5, which is rounded up.
    assert out.tolist() == [[0, 0, 128], [255, 255, 0]]


@pytest.mark.parametrize("shape", [(6, 8), (7, 8), (6, 9), (5, 5), (1, 4)])
def test_halves_are_means_of_eight_with_the_edge_repeated(rng, shape):
    pair = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    out = torch.zeros(((shape[0] + 1) // 2, (shape[1] + 1) // 2), dtype=torch.uint8)
    halve_eight_bit(torch.from_numpy(pair[0]), torch.from_numpy(pair[1]), out)
    padded = np.pad(pair.astype(int), ((0, 0), (0, shape[0] % 2), (0, shape[1] % 2)), mode="edge")
    total = padded.reshape(2, out.shape[0], 2, out.shape[1], 2).sum(axis=(0, 2, 4))
    np.testing.assert_array_equal(out, (total + 4) // 8)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="expected one shape"):
        to_eight_bit(torch.zeros((2, 2)), 0.0, 1.0, torch.zeros((2, 3), dtype=torch.uint8))
    section = torch.zeros((4, 4), dtype=torch.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        halve_eight_bit(section, section, torch.zeros((2, 3), dtype=torch.uint8))


def test_columns_are_averaged_as_seen_along_x(rng):
    volume = rng.integers(0, 256, (3, 4, 9), dtype=np.uint8)
    out = torch.empty((4, 3))
    mean_across(torch.from_numpy(volume), 2, 7, out)
    np.testing.assert_allclose(out, volume[..., 2:7].mean(axis=2).T, rtol=1e-6)
    with pytest.raises(ValueError, match="columns 5 to 12 of"):
        mean_across(torch.from_numpy(volume), 5, 12, out)
