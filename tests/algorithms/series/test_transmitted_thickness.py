"""The thickness of ice by transmission, with an error that a flickering beam and a short range enlarge."""

import numpy as np
import pytest

from cryoloom.algorithms.series.transmitted_thickness import (
    FREE_PATH_ANGSTROM,
    FREE_PATH_ERROR,
    mean_free_path_angstrom,
    transmitted_thickness,
)
from cryoloom.model import Microscope

KRIOS = Microscope(300.0)


def counts(tilts, thickness, rng, offset=0.0, flicker=0.003):
    path = thickness / FREE_PATH_ANGSTROM / np.cos(np.deg2rad(tilts + offset))
    return 20 * np.exp(-path) * rng.normal(1, flicker, len(tilts))


@pytest.mark.parametrize(("reach", "thickness"), [(60.0, 600.0), (60.0, 2400.0), (30.0, 1800.0)])
@pytest.mark.parametrize("offset", [0.0, 9.0])
def test_most_errors_lie_within_the_reported_one(reach, thickness, offset, rng):
    tilts = np.linspace(-reach, reach, 31)
    found = [
        transmitted_thickness(counts(tilts, thickness, rng, offset), tilts, np.full(31, 3.0), KRIOS)
        for _ in range(40)
    ]
    off = np.array([abs(one.thickness_angstrom - thickness) for one in found])
    of_fit = [
        np.sqrt(one.error_angstrom**2 - (FREE_PATH_ERROR * one.thickness_angstrom) ** 2) for one in found
    ]
    assert 0.5 < np.mean(off < of_fit) < 0.9  # 68 %, of 40
    assert np.median(off) < 0.25 * thickness


def test_a_short_range_tells_little(rng):
    tilts = np.linspace(-6, 6, 13)
    found = transmitted_thickness(counts(tilts, 1500.0, rng), tilts, np.full(13, 3.0), KRIOS)
    assert found is None or found.error_angstrom > 0.35 * found.thickness_angstrom


def test_longer_exposures_at_high_tilts_are_divided_out_where_images_show_them(rng):
    tilts = np.linspace(-60, 60, 41)
    dose = 3 / np.sqrt(np.cos(np.deg2rad(tilts)))
    of_dose = transmitted_thickness(counts(tilts, 1200.0, rng) * dose, tilts, dose, KRIOS)
    scaled = transmitted_thickness(counts(tilts, 1200.0, rng), tilts, dose, KRIOS)
    assert of_dose.thickness_angstrom == pytest.approx(1200, rel=0.1)
    assert scaled.thickness_angstrom == pytest.approx(1200, rel=0.1)


def test_images_without_a_level_tell_nothing(rng):
    tilts = np.linspace(-60, 60, 41)
    dose = np.full(41, 3.0)
    assert transmitted_thickness(rng.normal(0, 1, 41), tilts, dose, KRIOS) is None
    assert transmitted_thickness(np.full(41, 100.0), tilts, dose, KRIOS) is None
    assert transmitted_thickness(np.full(5, 100.0), tilts[:5], dose[:5], KRIOS) is None


def test_slower_electrons_are_scattered_sooner():
    assert mean_free_path_angstrom(Microscope(300.0)) == pytest.approx(3200)
    assert mean_free_path_angstrom(Microscope(200.0)) == pytest.approx(2560, rel=0.01)
