"""Brightness of images over that expected from the others at their tilt."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.series.tilt_quality import brightness_ratio, counts_from_zero

TILT_DEG = np.arange(-60.0, 61.0, 3.0)


def transmission(pretilt_deg=0.0, thickness=0.6):
    return 1000.0 * np.exp(-thickness / np.cos(np.deg2rad(TILT_DEG - pretilt_deg)))


@pytest.mark.parametrize("pretilt_deg", [0.0, 3.0])
def test_a_slab_is_as_bright_as_expected_at_every_tilt(pretilt_deg):
    # A pretilt is a term in tan(tilt) to first order.
    np.testing.assert_allclose(brightness_ratio(transmission(pretilt_deg), TILT_DEG), 1.0, atol=0.05)


def test_a_dark_image_stands_out_and_does_not_move_the_others():
    counts = transmission()
    counts[[3, 30]] *= [0.3, 0.5]
    ratio = brightness_ratio(counts, TILT_DEG)
    np.testing.assert_allclose(ratio[[3, 30]], [0.3, 0.5], rtol=0.1)
    others = np.delete(ratio, [3, 30])
    np.testing.assert_allclose(others, 1.0, atol=0.05)


def test_an_image_without_electrons_is_dark_and_not_an_error():
    counts = transmission()
    counts[0] = 0.0
    assert brightness_ratio(counts, TILT_DEG)[0] < 0.01


def test_means_of_images_scaled_to_mean_0_are_rounding_and_no_counts(rng):
    deviation = np.ones(41)
    assert not counts_from_zero(rng.normal(0, 1e-6, 41), deviation)
    assert not counts_from_zero(np.abs(rng.normal(0, 1e-6, 41)), deviation)
    assert counts_from_zero(transmission(), 30.0 * deviation)
    assert not counts_from_zero(np.zeros(0), np.zeros(0))


def test_a_few_black_images_do_not_hide_that_the_others_count():
    counts, deviation = transmission(), np.full(41, 30.0)
    counts[:10], deviation[:10] = 0.0, 1.0
    assert counts_from_zero(counts, deviation)
