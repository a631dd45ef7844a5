"""The tilt axis is found from any nominal one, and images are placed along it."""

import pytest

from cryoloom.algorithms.alignment.first_alignment import align_first
from makers.blob_series import AXIS, TILTS, make_series
from makers.coarse_images import ALL, images_of


@pytest.mark.parametrize("told", [None, AXIS + 10.0, AXIS - 17.0, AXIS + 90.0, AXIS + 180.0])
def test_the_axis_is_found_whatever_was_told(rng, told):
    series, _ = make_series(rng, n_beads=4, depth_angstrom=200.0)
    first = align_first(images_of(series), TILTS, ALL, told)
    assert first.told_is_refuted == (told == AXIS + 90.0)
    difference = (first.coarse.axis_deg - AXIS + 90) % 180 - 90
    assert abs(difference) < 2.0
    if told is not None:  # of the two that look the same, the one that was told
        assert abs(first.coarse.axis_deg - told) <= 92.0


def test_a_held_axis_is_used_as_it_is_and_the_circle_still_reports(rng):
    series, _ = make_series(rng, n_beads=4, depth_angstrom=200.0)
    first = align_first(images_of(series), TILTS, ALL, AXIS + 6.0, hold_axis=True)
    assert first.coarse.axis_deg == AXIS + 6.0
    assert abs((first.circle.best_deg - AXIS + 90) % 180 - 90) < 4.0
    # The finer search shows where the images would have it.
    assert abs(first.fine.best_deg - AXIS) < 3.0
