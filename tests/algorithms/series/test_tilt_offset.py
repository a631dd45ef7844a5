"""The pretilt is read from the light; images without a zero of intensity tell nothing."""

import numpy as np
import pytest

from cryoloom.algorithms.series.tilt_offset import fit_transmission

TILTS = np.arange(-60.0, 61.0, 3.0)
ALL = np.ones(len(TILTS), bool)


@pytest.mark.parametrize("offset", [-10.0, 0.0, 4.0, 12.0])
def test_recovers_a_pretilt_under_a_flickering_beam(offset, rng):
    counts = 20 * np.exp(-0.4 / np.cos(np.deg2rad(TILTS + offset))) * rng.normal(1, 0.005, len(TILTS))
    counts[7] *= 0.5  # something in the beam
    fit = fit_transmission(counts, TILTS, ALL)
    assert fit.offset_deg == pytest.approx(offset, abs=max(0.5, 3 * fit.error_deg))
    assert fit.error_deg < 0.6
    assert fit.relative_thickness == pytest.approx(0.4, rel=0.1)


def test_normalised_images_tell_nothing(rng):
    assert fit_transmission(rng.normal(0, 1, len(TILTS)), TILTS, ALL) is None
    assert fit_transmission(np.full(len(TILTS), 100.0), TILTS, ALL) is None
