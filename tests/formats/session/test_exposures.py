"""Exposures by the numbers in their names: what is absent was exposed all the same."""

import pytest

from cryoloom.formats.session.exposures import Exposure, absent_orders, accumulated_doses, places_in_time


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
