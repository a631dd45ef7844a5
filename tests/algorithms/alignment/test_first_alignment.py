"""The tilt axis is found from any nominal one, and images are placed along it."""

import pytest

from cryoloom.algorithms.alignment.first_alignment import align_first
from makers.blob_series import AXIS, TILTS, make_series
from makers.coarse_images import ALL, images_of


@pytest.mark.parametrize("nominal", [None, AXIS + 10.0, AXIS - 17.0, AXIS + 90.0, AXIS + 180.0])
def test_the_axis_is_found_whatever_the_nominal_one(rng, nominal):
    series, _ = make_series(rng, n_beads=4, depth_angstrom=200.0)
    first = align_first(images_of(series), TILTS, ALL, nominal)
    assert first.nominal_is_refuted == (nominal == AXIS + 90.0)
    difference = (first.coarse.axis_deg - AXIS + 90) % 180 - 90
    assert abs(difference) < 2.0
    if nominal is not None:  # of the two that look the same, the one that is nominal
        assert abs(first.coarse.axis_deg - nominal) <= 92.0


def test_a_held_axis_is_used_as_it_is_and_the_circle_still_reports(rng):
    series, _ = make_series(rng, n_beads=4, depth_angstrom=200.0)
    first = align_first(images_of(series), TILTS, ALL, AXIS + 6.0, hold_axis=True)
    assert first.coarse.axis_deg == AXIS + 6.0
    assert abs((first.circle.best_deg - AXIS + 90) % 180 - 90) < 4.0
    # The finer search shows where the images would have it.
    assert abs(first.fine.best_deg - AXIS) < 3.0
