"""A tilt series: its stacks, its tilts by acquisition index, and decisions of users on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Microscope, Pose, Sourced, Stack, Tilt, TiltOverride, TiltSeries
from cryoloom.model.tilt import DecidedBy, Exclusion

USER = DecidedBy("user", "ada")
IMAGES = np.zeros((3, 8, 10), np.float32)


@pytest.fixture
def series():
    # Acquired at 0, 3 and -3 degrees.
    tilts = (Tilt(2, -3.0, 6.0, 9.0), Tilt(0, 0.0, 0.0, 3.0), Tilt(1, 3.0, 3.0, 6.0))
    return TiltSeries("TS_01", Microscope(), 1.35, tilts)


def stack(value=0.0, **more):
    return Stack(IMAGES + value, 5.4, **more)


def test_the_best_stack_is_the_most_processed_one(series):
    with pytest.raises(DataUnfitError, match="no images yet; run align_frames or import_tilt_series"):
        _ = series.best_stack
    plain = replace(series, stack=stack())
    weighted = replace(plain, weighted=stack(1.0))
    corrected = replace(weighted, corrected=stack(2.0, ctf_correction="multiply"))
    assert plain.best_stack is plain.uncorrected_stack is plain.unweighted_stack is plain.stack
    assert weighted.best_stack is weighted.weighted
    assert corrected.best_stack is corrected.corrected
    assert corrected.uncorrected_stack is corrected.weighted
    assert corrected.unweighted_stack is corrected.stack
    with pytest.raises(DataUnfitError, match="no images yet"):
        _ = series.unweighted_stack


def test_angles_are_those_of_the_poses_else_nominal_with_the_pretilt(series):
    offset = replace(series, tilt_offset_deg=Sourced.from_told(10.0, "user"))
    posed = offset.with_tilts({0: {"pose": Pose(84.0, 10.4)}})
    np.testing.assert_allclose(posed.tilt_deg, [7.0, 10.4, 13.0])


def test_tilts_are_changed_by_acquisition_index(series):
    changed = series.with_tilts({2: {"section": 0}, 0: {"section": 1}})
    assert [tilt.section for tilt in changed.tilts] == [0, 1, None]
    with pytest.raises(KeyError, match=r"TS_01 has no tilt of acquisition index \[9\]"):
        series.with_tilts({9: {"section": 0}})


def test_excluding_never_renumbers(series):
    changed = series.with_tilts({0: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})
    assert len(changed.tilts) == 3
    assert [tilt.acquisition_index for tilt in changed.included] == [2, 1]


def test_decisions_of_users_reach_the_tilts_of_their_series(series):
    decisions = {"TS_01": [TiltOverride(1, False, "ice", USER), TiltOverride(7, False, "none", USER)]}
    decided = series.with_decisions(decisions)
    assert [tilt.is_excluded for tilt in decided.tilts] == [False, False, True]
    assert series.with_decisions({"TS_02": decisions["TS_01"]}) is series


def test_every_stack_is_checked_with_the_sections_that_tilts_refer_to(series):
    placed = series.with_tilts({0: {"section": 1}, 1: {"section": 2}})
    sets = replace(placed, stack=stack(even=IMAGES, odd=IMAGES), weighted=stack()).pixel_sets()
    assert [list(one.pixels) for one in sets] == [["images", "even", "odd"], ["images"]]
    assert {(one.pixel_size_angstrom, one.n_sections) for one in sets} == {(5.4, 3)}


def test_what_is_made_of_a_stack_is_made_of_its_halves():
    whole = stack(even=IMAGES + 1, odd=IMAGES + 2)
    made = whole.of_each(lambda pixels: pixels[:, ::2, ::2])
    assert (made.shape_yx, made.even.shape, float(made.odd.min())) == ((4, 5), (3, 4, 5), 2.0)
    assert stack().of_each(lambda pixels: pixels[:1]).even is None


def test_an_impossible_pixel_size_is_refused():
    with pytest.raises(DataUnfitError, match="the pixel size is 0; expected"):
        Stack(IMAGES, 0.0)


def test_the_axis_of_a_series_is_the_median_over_included_poses(series):
    assert series.median_axis_deg is None
    posed = series.with_tilts({0: {"pose": Pose(84.0, 0.0)}, 1: {"pose": Pose(86.0, 3.0)}})
    assert posed.median_axis_deg == 85.0
    excluded = posed.with_tilts({1: {"exclusion": Exclusion("dark", USER)}})
    assert excluded.median_axis_deg == 84.0


def test_a_tilt_without_a_movie_is_named(series):
    with pytest.raises(DataUnfitError, match="a tilt has no movie to align; import the movies") as error:
        series.movie_of(series.tilts[0])
    assert error.value.facts["acquisition_index"] == 2
