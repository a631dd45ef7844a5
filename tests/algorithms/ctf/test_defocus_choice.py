"""Of several defoci at which weak rings fit, the one is chosen that the other tilts make likely, or none."""

from types import SimpleNamespace

import numpy as np
import pytest

from cryoloom.algorithms.ctf.defocus_choice import NEAR_ANGSTROM, choose_defoci

N = 21
GRID = np.arange(20000.0, 40001.0, 200.0)
TRUE = 30000.0 + 300.0 * np.sin(np.arange(N))
WEAK, SILENT, FALSE, APART = 4, 8, 12, 16


@pytest.fixture
def tilts():
    return [SimpleNamespace(acquisition_index=i, tilt_deg=6.0 * i - 60.0) for i in range(N)]


def peak(at, height):
    return height * np.exp(-0.5 * ((GRID - at) / 400.0) ** 2)


def gains():
    """Clear rings but for four tilts."""
    rows = np.array([peak(at, 30.0) for at in TRUE])
    rows[WEAK] = peak(TRUE[WEAK], 5.0) + peak(TRUE[WEAK] + 5000, 6.5)
    rows[SILENT] = 0.0
    rows[FALSE] = peak(TRUE[FALSE] - 4000, 9.0)
    rows[APART] = peak(TRUE[APART] - 4000, 40.0)
    return rows


def test_the_others_choose_between_two_places_of_weak_rings(tilts):
    rows = gains()
    choice = choose_defoci(tilts, rows, GRID, 30000.0)
    assert abs(choice.defocus_angstrom[WEAK] - TRUE[WEAK]) < NEAR_ANGSTROM
    others = [i for i in range(N) if i not in (FALSE, APART)]
    assert np.abs(choice.defocus_angstrom - TRUE)[others].max() < NEAR_ANGSTROM
    assert choice.is_decided[[i for i in others if i != WEAK]].all()


def test_weak_rings_far_from_where_the_others_expect_them_decide_nothing(tilts):
    rows = gains()
    choice = choose_defoci(tilts, rows, GRID, 30000.0)
    assert not choice.is_decided[FALSE]


def test_clear_rings_may_lie_apart(tilts):
    rows = gains()
    choice = choose_defoci(tilts, rows, GRID, 30000.0)
    assert choice.is_decided[APART]
    assert choice.defocus_angstrom[APART] == pytest.approx(TRUE[APART] - 4000, abs=200)


def test_weak_rings_of_all_tilts_together_give_the_defocus_and_its_error(tilts):
    """No tilt's own gain is beyond what chance gives; their sum is."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N, len(GRID)))
    noise = np.array(
        [np.convolve(row, np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2), "same") for row in noise]
    )
    noise *= 1.0 / noise.std()
    strength = 1.8  # standard deviations of a tilt's rings
    rows = strength * (noise + np.array([strength * peak(at, 1.0) for at in TRUE])) - 0.5 * strength**2
    choice = choose_defoci(tilts, rows, GRID, 30000.0)
    off = np.abs(choice.mean_angstrom - TRUE)
    assert choice.evidence > 10.0
    assert np.median(off) < 300.0
    assert 0.6 < np.mean(off < choice.sd_angstrom)
    nothing = choose_defoci(tilts, strength * noise - 0.5 * strength**2, GRID, 30000.0)
    assert nothing.evidence < 0.0
