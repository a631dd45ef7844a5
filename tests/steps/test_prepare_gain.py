"""prepare_gain: the orientation is found from the movies, reported if it is not, and kept if given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.movie import describe_movie
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.formats.session.gain import load_gain
from cryoloom.model import GainReference, Microscope, Tilt, TiltSeries
from cryoloom.steps.prepare_gain import PrepareGainParams, prepare_gain

SHAPE = (160, 128)


def session(tmp_path, rng, quarter_turns=2, flip="upside_down", spread=0.06, counts=2.0, n_movies=3):
    """Movies of flat ice and a gain reference turned away from them; gives the series and the true gain."""
    response = rng.normal(1, spread, SHAPE).clip(0.3, 2).astype(np.float32)
    gain = 1 / response
    flipped = gain[::-1] if flip == "upside_down" else gain
    write_mrc(tmp_path / "gain.mrc", np.rot90(flipped, quarter_turns), 1.0)
    tilts = []
    for i in range(n_movies):
        path = tmp_path / f"{i}.tif"
        frames = rng.poisson(counts * response, (4, *SHAPE)).astype(np.uint8)
        tifffile.imwrite(path, frames[:, ::-1], photometric="minisblack")  # row 0 of a TIFF is the top
        tilts.append(Tilt(i, 3.0 * i, 3.0 * i, 3.0 * i + 3, movie=describe_movie(path)))
    series = TiltSeries("TS_01", Microscope(), 2.7, tuple(tilts), gain=GainReference(tmp_path / "gain.mrc"))
    return series, gain


@pytest.mark.parametrize(
    ("quarter_turns", "flip"), [(0, "none"), (2, "none"), (0, "upside_down"), (1, "none")]
)
def test_finds_the_orientation(tmp_path, rng, context, quarter_turns, flip):
    series, gain = session(tmp_path, rng, quarter_turns, flip)
    found = prepare_gain(series, PrepareGainParams(), context).gain
    assert (found.quarter_turns, found.flip, found.orientation_by) == (quarter_turns, flip, "data")
    assert_allclose(load_gain(found, SHAPE), gain)
    record = context.records["gain_orientation"]
    assert record["is_certain"]
    assert record["n_movies"] < 3
    assert len(record["trials"]) == 4
    assert context.figures["gain_variation"] < context.figures["raw_variation"]
    assert context.figures["gain_margin_sigmas"] > 10
    assert found.evidence[-1][0] == "without gain"
    assert not context.warnings


def test_adds_movies_until_it_is_certain(tmp_path, rng, context):
    series, _ = session(tmp_path, rng, spread=0.05, counts=0.7, n_movies=12)
    found = prepare_gain(series, PrepareGainParams(), context).gain
    assert (found.quarter_turns, found.flip) == (2, "upside_down")
    assert context.records["gain_orientation"]["n_movies"] > 1


def test_keeps_and_tells_where_the_data_say_nothing(tmp_path, rng, context):
    series, _ = session(tmp_path, rng, spread=0.0)
    found = prepare_gain(series, PrepareGainParams(), context).gain
    assert (found.quarter_turns, found.flip, found.orientation_by) == (0, "none", "as filed")
    assert any("do not determine the orientation of the gain" in warning for warning in context.warnings)


def test_keeps_what_the_user_gave_and_warns(tmp_path, rng, context):
    series, _ = session(tmp_path, rng)
    given = replace(series.gain, quarter_turns=2, flip="none", orientation_by="user")
    found = prepare_gain(replace(series, gain=given), PrepareGainParams(), context).gain
    assert (found.quarter_turns, found.flip, found.orientation_by) == (2, "none", "user")
    assert any("2 turns, upside_down gives less variation" in warning for warning in context.warnings)


def test_the_same_orientation_by_another_name_is_no_objection(tmp_path, rng, context):
    series, _ = session(tmp_path, rng)
    given = replace(series.gain, quarter_turns=0, flip="left_right", orientation_by="user")
    prepare_gain(replace(series, gain=given), PrepareGainParams(), context)
    assert not context.warnings


def test_may_be_turned_off(tmp_path, rng, context):
    series, _ = session(tmp_path, rng)
    found = prepare_gain(series, PrepareGainParams(find_orientation=False), context).gain
    assert (found.quarter_turns, found.flip, found.orientation_by) == (0, "none", "as filed")
    assert not context.records


def test_a_gain_of_another_camera_is_refused(tmp_path, rng, context):
    series, _ = session(tmp_path, rng)
    write_mrc(tmp_path / "gain.mrc", np.ones((100, 128), np.float32), 1.0)
    with pytest.raises(DataUnfitError, match="does not fit the movies in any rotation") as caught:
        prepare_gain(series, PrepareGainParams(), context)
    assert (caught.value.facts["got_yx"], caught.value.facts["expected_yx"]) == ((100, 128), SHAPE)


def test_passes_on_what_has_no_gain_or_no_movies(tmp_path, rng, context):
    series, _ = session(tmp_path, rng)
    without = replace(series, gain=None)
    assert prepare_gain(without, PrepareGainParams(), context) is without
    sums = replace(series, tilts=tuple(replace(tilt, movie=None) for tilt in series.tilts))
    assert prepare_gain(sums, PrepareGainParams(), context) is sums
