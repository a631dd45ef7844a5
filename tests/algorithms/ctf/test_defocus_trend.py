"""Defoci far from those of the other tilts are found, whatever slope and scatter the series has."""

import numpy as np
import pytest

from cryoloom.algorithms.ctf.defocus_trend import off_the_trend

TILTS = np.arange(-60.0, 61.0, 3.0)


def defoci(rng, slope=0.0, scatter=300.0):
    return 32000.0 + slope * TILTS + rng.normal(0, scatter, len(TILTS))


@pytest.mark.parametrize("slope", [0.0, 40.0])
@pytest.mark.parametrize("wrong", [[3], [37, 38, 39, 40], [0, 10, 11, 20, 30, 31, 40]])
def test_wrong_ones_are_distinguished_from_the_trend(rng, slope, wrong):
    found = defoci(rng, slope)
    found[wrong] += 5000.0
    off = off_the_trend(TILTS, found)
    assert np.flatnonzero(off).tolist() == wrong
    np.testing.assert_allclose(off[wrong], 5000, atol=1500)


@pytest.mark.parametrize(("slope", "scatter"), [(0.0, 150.0), (60.0, 400.0), (0.0, 2000.0)])
def test_a_slope_and_scatter_are_no_fault(rng, slope, scatter):
    assert not off_the_trend(TILTS, defoci(rng, slope, scatter)).any()


def test_a_few_tilts_have_no_trend():
    assert not off_the_trend(np.array([0.0, 3.0, 6.0]), np.array([3e4, 9e4, 3e4])).any()
    assert not off_the_trend(np.zeros(8), np.linspace(0, 1e5, 8)).any()
