"""Tracks that end where others begin do not hold a series together, however well they fit."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.track_coverage import (
    followed_part,
    least_in_common,
    views_placed_by_chance,
)
from cryoloom.algorithms.alignment.tracks import Tracks, residuals
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

TILT_DEG = np.arange(-60.0, 61.0, 6.0)
EVERYTHING = np.ones(len(TILT_DEG), dtype=bool)
FIELD_XY_ANGSTROM = (4000.0, 4000.0)


def solved(shown, rng):
    """Twelve points, each seen where ``shown`` ``(12, n_views)`` says."""
    geometry = SeriesGeometry.start(TILT_DEG, 85.0)
    points = rng.uniform(-500, 500, (12, 3))
    table = np.moveaxis(geometry.project(points), 0, 1) + rng.normal(0, 2.0, (12, len(TILT_DEG), 2))
    tracks = Tracks.from_table(np.where(shown[..., None], table, np.nan))
    return tracks, adjust_bundle(tracks, geometry)


def test_points_seen_in_most_views_hold_a_series_together(rng):
    tracks, solution = solved(rng.uniform(size=(12, len(TILT_DEG))) < 0.9, rng)
    assert followed_part(tracks, solution, EVERYTHING, FIELD_XY_ANGSTROM) == pytest.approx(0.9, abs=0.06)
    assert least_in_common(tracks, solution, EVERYTHING) >= 9


def test_halves_of_a_series_without_a_common_point_do_not(rng):
    first = np.arange(12)[:, None] % 2 == 0
    tracks, solution = solved(np.where(first, TILT_DEG < 0, TILT_DEG >= 0), rng)
    assert followed_part(tracks, solution, EVERYTHING, FIELD_XY_ANGSTROM) == pytest.approx(0.5, abs=0.05)
    assert least_in_common(tracks, solution, EVERYTHING) == 0


def test_places_outside_the_images_and_views_that_are_not_used_do_not_count(rng):
    shown = np.ones((12, len(TILT_DEG)), dtype=bool)
    shown[:, 4] = False
    tracks, solution = solved(shown, rng)
    used = np.arange(len(TILT_DEG)) != 4
    assert followed_part(tracks, solution, used, FIELD_XY_ANGSTROM) == pytest.approx(1.0, abs=0.03)
    assert (
        followed_part(tracks, solution, used, (10.0, 10.0)) < 1.0
    )  # no point is expected in so small a field
    assert least_in_common(tracks, solution, used) >= 11


def test_of_five_views_nothing_is_said(rng):
    few = np.zeros(len(TILT_DEG), dtype=bool)
    few[8:13] = True
    tracks, solution = solved(np.broadcast_to(few, (12, len(TILT_DEG))), rng)
    assert least_in_common(tracks, solution, few) == 12


@pytest.mark.parametrize(
    ("n_shown", "is_chance"),
    [(0, True), (1, True), (2, True), (6, False), (12, False)],
)
def test_a_view_that_shows_far_fewer_points_than_it_should_was_placed_by_chance(rng, n_shown, is_chance):
    shown = rng.uniform(size=(12, len(TILT_DEG))) < 0.95
    shown[:, 7] = np.arange(12) < n_shown
    tracks, solution = solved(shown, rng)
    chance = views_placed_by_chance(tracks, solution, EVERYTHING, FIELD_XY_ANGSTROM)
    assert chance[7] == is_chance
    assert not np.delete(chance, 7).any()


def test_few_points_in_a_view_that_sees_few_of_them_are_no_chance(rng):
    """A view far from the others has most of the points outside its field: two of three place it."""
    geometry = SeriesGeometry.start(TILT_DEG, 85.0)
    points = rng.uniform(-500, 500, (12, 3))
    places = geometry.project(points)
    nearest = np.argsort(places[7, :, 0])[:3]  # the leftmost come into the right edge of the field
    shift = np.zeros((len(TILT_DEG), 2))
    shift[7, 0] = 2000.0 - places[7, nearest[2], 0] - 1.0
    geometry = SeriesGeometry.start(TILT_DEG, 85.0, shift)
    table = np.moveaxis(geometry.project(points), 0, 1)
    shown = np.ones((12, len(TILT_DEG)), dtype=bool)
    shown[:, 7] = False
    shown[nearest[:2], 7] = True
    tracks = Tracks.from_table(np.where(shown[..., None], table, np.nan))
    weights = np.ones(len(tracks.view))
    solution = BundleSolution(geometry, points, residuals(tracks, geometry, points), weights)
    assert not views_placed_by_chance(tracks, solution, EVERYTHING, FIELD_XY_ANGSTROM)[7]


def test_where_every_view_shows_few_points_none_is_called_chance(rng):
    shown = np.zeros((12, len(TILT_DEG)), dtype=bool)
    shown[:3] = True
    tracks, solution = solved(shown, rng)
    assert not views_placed_by_chance(tracks, solution, EVERYTHING, FIELD_XY_ANGSTROM).any()
