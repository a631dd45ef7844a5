"""Rings too weak for single images, beside bumps that the images share as particles make them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.defocus_fit import whiten
from cryoloom.algorithms.ctf.phase import ctf_phase
from cryoloom.algorithms.ctf.series_fit import _search, fit_series
from cryoloom.algorithms.ctf.series_model import TiltRings, is_seen
from cryoloom.algorithms.ctf.weak_series import CERTAIN_EVIDENCE, find_weak_rings
from cryoloom.algorithms.images.power_spectrum import SpectrumBand, tile_spectra
from cryoloom.model import Microscope

BAND = SpectrumBand(1 / 35, 1 / 7.0)
N, TRUE, JITTER = 31, 32000.0, 300.0
STRENGTH = 0.035
GRID = np.arange(25000.0, 42001.0, 100.0)


def weak_rings(strength, seed=3):
    """Flat tilts with rings of this amplitude, and bumps like those of a defocus of 27000 angstrom."""
    rng = np.random.default_rng(seed)
    layout = tile_spectra(torch.zeros((512, 512)), 2.7, BAND, 700.0)
    squared, microscope = BAND.squared_frequency, Microscope()
    defoci = TRUE + rng.normal(0, JITTER, N)
    bumps = 1 + 0.25 * np.exp(-300 * squared) * np.cos(2 * ctf_phase(squared, 27000.0, microscope, 40.0))
    found = []
    for i, defocus in enumerate(defoci):
        rings = 1 - strength * np.exp(-64 * squared) * np.cos(
            2 * ctf_phase(squared, defocus, microscope, 0.0)
        )
        n = np.maximum(layout.counts * layout.independence, 0.1)
        power = bumps * rings * rng.gamma(n, 1 / n, size=layout.power.shape)
        data = whiten(replace(layout, power=power.astype(np.float32)), microscope)
        found.append(TiltRings(data, i, 0.0, 85.0))
    return found, defoci


def test_the_defocus_is_that_of_the_rings_and_not_of_the_shared_bumps():
    tilts, defoci = weak_rings(STRENGTH)
    found = find_weak_rings(tilts, [1], GRID, _search)
    off = np.abs(found.choice.mean_angstrom - defoci)
    assert found.choice.evidence > CERTAIN_EVIDENCE
    assert np.median(off) < 1.5 * JITTER
    assert np.mean(off < found.choice.sd_angstrom) == pytest.approx(0.75, abs=0.25)


def test_bumps_alone_are_no_rings():
    tilts, _ = weak_rings(0.0)
    assert find_weak_rings(tilts, [1], GRID, _search) is None


@pytest.mark.slow
def test_a_weak_series_says_so_and_gives_errors():
    tilts, defoci = weak_rings(STRENGTH)
    found = fit_series(tilts, (GRID[0], GRID[-1]), 1)
    assert found.is_weak
    assert not all(is_seen(fit) for fit in found.fits)
    off = np.array([fit.defocus_angstrom for fit in found.fits]) - defoci
    assert np.median(np.abs(off)) < 1.5 * JITTER
    assert np.abs(off).max() < 5 * JITTER
    assert min(fit.sd_angstrom for fit in found.fits) > 100.0
