"""Tracks that end where others begin do not hold a series together, however well they fit."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.track_coverage import followed_part, least_in_common
from cryoloom.algorithms.alignment.tracks import Tracks
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
