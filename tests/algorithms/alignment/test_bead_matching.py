"""A view is placed by all of its beads together, also where their heights are not known."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bead_matching import PredictedBeads, place_view

FIELD_XY_ANGSTROM = np.array([2000.0, 2000.0])
EXACT = np.eye(2) * 20.0**2
ACROSS_X = np.diag([60.0**2, 20.0**2])  # the height is not known, and x runs across the tilt axis
HERE = np.zeros((1, 2))
MOVED = np.array([30.0, -80.0])
FAR = np.array([650.0, 90.0])


def predicted(places, covariance):
    n = len(places)
    return PredictedBeads(places, np.broadcast_to(covariance, (n, 2, 2)), np.ones(n, dtype=bool))


@pytest.mark.parametrize("n_upper", [5, 7, 9])
def test_beads_of_two_surfaces_are_all_matched(n_upper, rng):
    places = rng.uniform(-900, 900, (14, 2))
    apart = np.where(np.arange(14) < n_upper, 50.0, -50.0)[:, None] * [1.0, 0.0]
    candidates = (places + apart + MOVED)[::-1]
    offset, matched = place_view(predicted(places, ACROSS_X), candidates, HERE, FIELD_XY_ANGSTROM)
    np.testing.assert_array_equal(matched, np.arange(14)[::-1])
    # The mean of both surfaces: a least squares fit, so it leans to the one with more beads.
    np.testing.assert_allclose(offset, apart.mean(axis=0) + MOVED, atol=1e-6)


def test_a_candidate_is_one_bead_only():
    places = np.array([[0.0, 0.0], [40.0, 0.0], [500.0, 300.0], [-600.0, 100.0]])
    candidates = np.array([[25.0, 0.0], [500.0, 300.0], [-600.0, 100.0]])
    _, matched = place_view(predicted(places, EXACT), candidates, HERE, FIELD_XY_ANGSTROM)
    np.testing.assert_array_equal(matched, [-1, 0, 1, 2])  # the nearer of the two has it


def test_the_nearest_of_equal_offsets_is_taken(rng):
    """A lattice of beads fits at every period."""
    places = np.stack(np.meshgrid(np.arange(-600.0, 601, 300), [0.0]), axis=-1).reshape(-1, 2)
    offset, _ = place_view(predicted(places, EXACT), places + np.array([20.0, 0.0]), HERE, FIELD_XY_ANGSTROM)
    np.testing.assert_allclose(offset, [20.0, 0.0], atol=1e-6)


def test_an_offset_about_another_beginning_is_found(rng):
    places = rng.uniform(-900, 900, (12, 2))
    beginnings = np.array([[0.0, 0.0], [700.0, 0.0]])
    found = place_view(predicted(places, EXACT), places + FAR, beginnings, FIELD_XY_ANGSTROM)
    np.testing.assert_allclose(found[0], FAR, atol=1e-6)
    alone = place_view(predicted(places, EXACT), places + FAR, HERE, FIELD_XY_ANGSTROM)
    assert np.hypot(*alone[0]) < 450.0  # beyond the reach


@pytest.mark.parametrize("n_candidates", [0, 1])
def test_an_offset_that_two_beads_do_not_confirm_is_not_used(n_candidates, rng):
    places = rng.uniform(-900, 900, (6, 2))
    candidates = places[:n_candidates] + MOVED
    beginning = np.array([[10.0, 5.0]])
    offset, matched = place_view(predicted(places, EXACT), candidates, beginning, FIELD_XY_ANGSTROM)
    np.testing.assert_array_equal(offset, beginning[0])
    assert (matched < 0).all()


def test_beads_seen_too_rarely_do_not_place_a_view(rng):
    places = rng.uniform(-900, 900, (10, 2))
    votes = np.arange(10) < 4
    moved = np.where(votes[:, None], [60.0, 0.0], [-200.0, 0.0])
    beads = PredictedBeads(places, np.broadcast_to(EXACT, (10, 2, 2)), votes)
    offset, _ = place_view(beads, places + moved, HERE, FIELD_XY_ANGSTROM)
    np.testing.assert_allclose(offset, [60.0, 0.0], atol=1e-6)
