"""Defocus, amplitudes and B-factors return from likelihoods that have their peak there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.series_refinement.tilt_contrast import (
    defocus_changes,
    defocus_offsets,
    envelope_values,
    envelopes,
    fitted_to_others,
    values_at_defocus,
)


def test_offsets_are_near_enough_at_a_resolution():
    offsets = defocus_offsets(0.0197, 8.0, 1500.0)
    assert len(offsets) % 2 == 1
    assert offsets[len(offsets) // 2] == 0.0
    # 1 rad of the CTF's phase at 8 A.
    assert np.diff(offsets).max() <= 64.0 / (np.pi * 0.0197)


@pytest.mark.parametrize("sharpness", [1e-4, 4e-5])
def test_each_tilt_returns_to_its_defocus(sharpness):
    rng = np.random.default_rng(1)
    true = 250.0 + rng.normal(0, 150.0, 20)
    offsets = defocus_offsets(0.0197, 8.0, 1500.0)
    values = -0.5 * sharpness * (offsets[:, None] - true) ** 2
    found = defocus_changes(values, offsets, "tilt")
    # The prior draws a tilt to the common value by one part in (1 + sharpness x 400^2).
    assert np.abs(found - true).max() < 5.0 + 400.0 / (1.0 + sharpness * 400.0**2)
    common = defocus_changes(values, offsets, "series")
    assert_allclose(common, true.mean(), atol=15.0)
    assert not defocus_changes(values, offsets, "none").any()


def test_values_of_particles_sum_to_that_of_all():
    rng = np.random.default_rng(2)
    offsets = np.linspace(-900.0, 900.0, 7)
    peaks = rng.normal(0, 200.0, (5, 9))
    values = -1e-5 * (offsets[:, None, None] - peaks) ** 2
    changes = rng.normal(0, 300.0, 9)
    expected = (-1e-5 * (changes - peaks) ** 2).sum(axis=1)
    assert_allclose(values_at_defocus(values, offsets, changes), expected, atol=1e-9)


def test_amplitude_and_fall_return():
    squared = (np.arange(1, 25) / 200.0) ** 2
    amplitude, fall = np.array([1.2, 0.7, 1.0]), np.array([0.0, 120.0, 60.0])
    quadratic = np.full((3, 24), 400.0)
    shape = amplitude[:, None] * np.exp(-fall[:, None] * squared / 4)
    terms = np.stack([quadratic * shape, quadratic], axis=-1)
    a, b = envelopes(terms, squared, "amplitude and B-factor")
    assert_allclose(a, amplitude, atol=0.02)
    assert_allclose(b, fall, atol=6.0)
    only, none = envelopes(terms, squared, "amplitude")
    assert not none.any()
    assert only[1] < amplitude[1]
    best = envelope_values(terms[None], squared, a, b)
    assert best > envelope_values(terms[None], squared, only, none)


def test_nobody_is_valued_by_a_fit_to_itself():
    folds = np.array([0, 1, 2, 0, 1, 2])
    data = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    found = fitted_to_others(
        folds, lambda rest: data[rest], lambda out, fitted: np.isin(data[out], fitted) * 1.0
    )
    assert not found.any()
