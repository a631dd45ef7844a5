"""Between samples: what a short filter can do, and when it says that it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.images.half_sample import REACH, half_sample_taps

FREQUENCY = np.linspace(0, 0.5, 500)


def of_cutoff(cutoff, falloff=0.05):
    return FREQUENCY * np.where(FREQUENCY > cutoff, np.exp(-(((FREQUENCY - cutoff) / falloff) ** 2)), 1)


@pytest.mark.parametrize("cutoff", [0.15, 0.25, 0.35])
def test_waves_are_met_half_way(cutoff):
    taps = half_sample_taps(of_cutoff(cutoff), 0.005)
    k = np.arange(REACH)
    for frequency, most in ((0.0, 0.002), (0.02, 0.002), (0.1, 0.002), (cutoff, 0.004)):
        position = np.arange(40) + 0.3
        both = np.cos(2 * np.pi * frequency * (position[:, None] - k))
        both += np.cos(2 * np.pi * frequency * (position[:, None] + 1 + k))
        np.testing.assert_allclose(both @ taps, np.cos(2 * np.pi * frequency * (position + 0.5)), atol=most)


def test_rows_with_detail_up_to_half_a_cycle_are_refused():
    assert half_sample_taps(of_cutoff(0.5), 0.005) is None
    assert half_sample_taps(np.ones(500), 0.005) is None
