"""Exposures by the numbers in their names: what is absent was exposed all the same."""

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.exposures import (
    Exposure,
    absent_orders,
    accumulated_doses,
    decided_angles,
    places_in_time,
)


def exposures(*orders):
    return [Exposure(3.0 * i, f"{i}.tif", order=order, order_is_given=True) for i, order in enumerate(orders)]


@pytest.mark.parametrize(
    ("orders", "places", "absent"),
    [
        ((0, 1, 2, 3), [0, 1, 2, 3], []),
        ((1, 2, 4, 5), [0, 1, 3, 4], [3]),
        ((2, 3, 4, 5), [1, 2, 3, 4], [1]),  # numbers begin at 0 or 1: the first was lost
        ((42, 43, 45, 46), [0, 1, 3, 4], [44]),  # numbers that go on from series to series
        ((95830, 95912, 100045, 100133), [0, 1, 2, 3], []),  # times of day count nothing
        ((1, 1, 2, 3), [0, 1, 2, 3], []),
        ((None, None), [0, 1], []),
    ],
)
def test_places_in_time(orders, places, absent):
    assert places_in_time(exposures(*orders)) == places
    assert absent_orders(exposures(*orders)) == absent


def test_the_dose_of_an_absent_exposure_counts():
    doses, evidence = accumulated_doses(exposures(1, 2, 4), 3.0, 1.0)
    assert evidence.used == "user"
    assert doses == [(1.0, 4.0), (4.0, 7.0), (10.0, 13.0)]


def with_doses(*doses):
    return [Exposure(3.0 * i, f"{i}.tif", dose_per_angstrom2=dose) for i, dose in enumerate(doses)]


@pytest.mark.parametrize("missing", [None, 0.0, 3000.0])
def test_a_missing_dose_is_that_of_the_others_where_these_are_equal(missing):
    doses, evidence = accumulated_doses(with_doses(3.0, missing, 3.01, 3.0), None, 0.0)
    assert doses[1] == (3.0, 6.0)
    assert "1.tif, which cannot be; the dose of the others, 3 e/A^2, is used" in evidence.note


@pytest.mark.parametrize("doses", [(3.0, 0.0, 3.5, 4.0), (3.0, 0.0, None), (0.0, 0.0, 0.0), (3000.0, 3000.0)])
def test_a_dose_that_nothing_tells_is_asked_for(doses):
    with pytest.raises(DataUnfitError, match="give dose_per_tilt_per_angstrom2"):
        accumulated_doses(with_doses(*doses), None, 0.0)


def named(stage, name, *, is_named=False):
    return Exposure(stage, f"{name}.tif", named_tilt_deg=name, tilt_is_named=is_named)


def test_an_angle_of_a_name_does_not_complete_angles_that_names_contradict():
    good = [named(-10.0, -10.0), named(0.0, 0.0), named(10.0, 10.0, is_named=True)]
    assert [e.tilt_deg for e in decided_angles(good)[0]] == [-10.0, 0.0, 10.0]
    with pytest.raises(DataUnfitError, match=r"TiltAngle of 10\.0\.tif is missing or impossible"):
        decided_angles([named(-30.0, -10.0), named(0.0, 0.0), named(10.0, 10.0, is_named=True)])
