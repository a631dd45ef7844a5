"""Views find their tilts, or are refused: never the neighbour."""

import numpy as np
import pytest

from cryoloom.algorithms.series.view_matching import ViewEvidence, match_views
from cryoloom.errors import DataUnfitError

ANGLES = np.arange(-60.0, 61.0, 3.0)
N = len(ANGLES)


def evidence(tilt, dose=None, section=None):
    tilt = np.asarray(tilt, dtype=float)
    return ViewEvidence(
        tilt,
        np.full(len(tilt), np.nan) if dose is None else np.asarray(dose, dtype=float),
        np.full(len(tilt), -1) if section is None else np.asarray(section),
    )


def test_sections_decide_in_any_order(rng):
    order = rng.permutation(N)
    tilts = evidence(ANGLES, section=order)
    views = evidence(ANGLES[np.argsort(order)] + rng.normal(0, 0.3, N) + 9.0, section=np.arange(N))
    np.testing.assert_array_equal(match_views(tilts, views, N), np.argsort(order))


def test_a_wrong_order_is_refused(rng):
    tilts = evidence(ANGLES, section=rng.permutation(N))
    with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
        match_views(tilts, evidence(ANGLES, section=np.arange(N)), N)


def test_missing_views_are_found_by_angle(rng):
    kept = np.delete(np.arange(N), [0, 7, 8, 30])
    tilts = evidence(ANGLES, section=np.arange(N))
    views = evidence(ANGLES[kept] + rng.normal(0, 0.1, len(kept)), section=np.arange(len(kept)))
    np.testing.assert_array_equal(match_views(tilts, views, N), kept)


@pytest.mark.parametrize("offset", [1.5, -2.0, 3.0 + 1.5])
def test_an_unknown_offset_with_missing_views_is_refused(offset):
    tilts = evidence(ANGLES, section=np.arange(N))
    with pytest.raises(DataUnfitError, match="which is which"):
        match_views(tilts, evidence(ANGLES[2:] + offset), N)


def test_an_offset_of_a_whole_step_is_refused_when_a_view_hangs_over():
    tilts = evidence(ANGLES, section=np.arange(N))
    with pytest.raises(DataUnfitError, match="1 views have no tilt"):
        match_views(tilts, evidence(ANGLES[2:] + 3.0), N)


def test_two_images_at_one_angle_are_distinguished_by_dose():
    angles = np.array([-3.0, 0.0, 0.0, 3.0])
    tilts = evidence(angles, dose=[6.0, 0.0, 3.0, 9.0], section=np.arange(4))
    views = evidence([0.0, 3.0], dose=[3.0, 9.0])
    np.testing.assert_array_equal(match_views(tilts, views, 4), [2, 3])
    with pytest.raises(DataUnfitError, match="more than one"):
        match_views(evidence(angles, section=np.arange(4)), evidence([0.0, 3.0]), 4)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("counted", [0.0, 1.5, 3.0])
def test_doses_decide_whatever_point_of_the_exposure_they_tell(ascending, counted):
    dose = 3.0 * np.argsort(np.argsort(ANGLES if ascending else np.abs(ANGLES), kind="stable"))
    kept = np.delete(np.arange(N), [0, 7, 8, 30, N - 1])
    tilts = evidence(ANGLES, dose=dose, section=np.arange(N))
    if counted == 1.5:  # half-way between two tilts
        with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
            match_views(tilts, evidence(ANGLES[kept], dose=dose[kept] + counted), N)
        return
    found = match_views(tilts, evidence(ANGLES[kept] + 0.3, dose=dose[kept] + counted), N)
    np.testing.assert_array_equal(found, kept)


def test_an_offset_of_the_angles_needs_a_scheme_that_tells_doses_apart():
    kept = np.delete(np.arange(N), [0, 7, 8, 30, N - 1])
    symmetric = 3.0 * np.argsort(np.argsort(np.abs(ANGLES), kind="stable"))
    tilts = evidence(ANGLES, dose=symmetric, section=np.arange(N))
    found = match_views(tilts, evidence(ANGLES[kept] + 9.0, dose=symmetric[kept]), N)
    np.testing.assert_array_equal(found, kept)
    ascending = 3.0 * np.arange(N)
    with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
        match_views(
            evidence(ANGLES, dose=ascending, section=np.arange(N)),
            evidence(ANGLES[kept] + 9.0, dose=ascending[kept]),
            N,
        )


@pytest.mark.parametrize("counted_from", [0, 1])
def test_sections_counted_from_zero_or_one_are_distinguished_by_angle(counted_from):
    """AreTomo of 2022 and before counts from 0; with section 0 dark, the file alone does not tell."""
    kept = np.arange(1, N - 1)
    tilts = evidence(ANGLES, section=np.arange(N))
    views = evidence(ANGLES[kept] + 0.4, section=kept + counted_from - 1)
    found = match_views(tilts, views, N, n_program_sections=N, zero_based_too=True)
    np.testing.assert_array_equal(found, kept)


def test_ambiguous_counting_is_refused():
    tilts = evidence(ANGLES, section=np.arange(N))
    views = evidence(ANGLES[1:-1] + 1.5, section=np.arange(1, N - 1))
    with pytest.raises(DataUnfitError, match="cannot be assigned to tilts"):
        match_views(tilts, views, N, n_program_sections=N, zero_based_too=True)
