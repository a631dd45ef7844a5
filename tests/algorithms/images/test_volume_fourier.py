"""Fourier transforms of volumes: frequencies are numpy's to the bit, shifts exact, weights by shells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.volume_fourier import (
    exact_radial_frequency_rfftn,
    frequencies_rfftn,
    radial_frequency_rfftn,
    shift_volume,
    weigh_shells,
)

SHAPES = [(8, 8, 8), (7, 7, 7), (6, 9, 11), (9, 10, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", [1.0, 2.7, 1 / 7])
def test_frequencies_are_numpys_to_the_bit(shape, spacing):
    z, y, x = frequencies_rfftn(shape, spacing, dtype=torch.float64)
    expected = [np.fft.fftfreq(n, spacing) for n in shape[:2]] + [np.fft.rfftfreq(shape[2], spacing)]
    for found, one in zip((z, y, x), expected, strict=True):
        np.testing.assert_array_equal(found.ravel().numpy(), one)
    by_hand = np.sqrt(
        expected[0][:, None, None] ** 2 + expected[1][None, :, None] ** 2 + expected[2][None, None] ** 2
    )
    np.testing.assert_array_equal(exact_radial_frequency_rfftn(shape, spacing), by_hand)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_radii_agree(shape):
    radius = radial_frequency_rfftn(shape)
    assert radius.dtype == torch.float32
    # 1e-6: rounding of float32.
    np.testing.assert_allclose(radius.numpy(), exact_radial_frequency_rfftn(shape), rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_shift_moves_towards_larger_indices(shape, rng):
    volume = torch.tensor(rng.normal(size=shape), dtype=torch.float32)
    moved = shift_volume(volume, np.array([1.0, -2.0, 3.0]))
    expected = torch.roll(volume, (3, -2, 1), dims=(0, 1, 2))
    # 1e-5: rounding of float32 transforms.
    np.testing.assert_allclose(moved.numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("n", [8, 9])
def test_a_weight_of_the_mean_alone_leaves_the_mean(n, rng):
    volume = torch.tensor(rng.normal(size=(n, n, n)), dtype=torch.float32)
    kept = weigh_shells(volume, np.array([1.0, 0.0]))
    np.testing.assert_allclose(kept.numpy(), np.full((n, n, n), float(volume.mean())), atol=1e-6)
