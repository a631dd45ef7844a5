"""Movies of a session by name, and series by a pattern of names."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.session.movie_folder import (
    MovieFolder,
    files_below,
    series_by_pattern,
    series_of_movie_name,
)


@pytest.fixture
def session(tmp_path):
    for name in ("frames/TS_01_000_0.0.tif", "frames/TS_01_001_3.0.tif", "old/TS_01_000_0.0.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "frames" / "notes.txt").write_text("")
    (tmp_path / "frames" / ".TS_01_002_6.0.tif").write_text("")
    return tmp_path


def test_movies_are_found_ignoring_case_and_suffix(session):
    folder = MovieFolder([session / "frames"])
    assert (folder.n_movies, folder.example) == (2, "TS_01_000_0.0.tif")
    assert folder.holds("ts_01_001_3.0.TIF")
    assert folder.find("TS_01_001_3.0.eer", session).name == "TS_01_001_3.0.tif"


def test_of_two_of_one_name_the_nearest_counts(session):
    folder = MovieFolder([session])
    name = "TS_01_000_0.0.tif"
    assert folder.find(name, session / "old").parent.name == "old"
    with pytest.raises(DataUnfitError, match="there are two movies"):
        folder.find(name, session)


def test_a_missing_movie_is_named_with_the_nearest_name_there(session):
    with pytest.raises(DataUnfitError, match=r"TS_01_007_0.0.tif is missing .*\(the nearest"):
        MovieFolder([session / "frames"]).find("TS_01_007_0.0.tif", session)


def test_links_in_a_circle_are_walked_once(session):
    (session / "frames" / "up").symlink_to(session)
    names = sorted(path.name for path in files_below(session / "frames"))
    # Those of this folder, and through the link that of the other one.
    assert names == ["TS_01_000_0.0.tif", "TS_01_000_0.0.tif", "TS_01_001_3.0.tif", "notes.txt"]


def test_series_by_a_pattern_of_names(session):
    series = series_by_pattern(session / "frames", "{TS}_{TO}_{TA}.tif")
    assert [(e.order, e.tilt_deg) for e in series["TS_01"]] == [(0, 0.0), (1, 3.0)]


@pytest.mark.parametrize(
    ("names", "tilts"),
    [
        (["TS_01.002-3.0.mrc"], [-3.0]),
        (["TS_01.001-3.0.mrc", "TS_01.002_3.0.mrc"], [-3.0, 3.0]),
        (["TS_01_001-3.0.mrc", "TS_01_002+3.0.mrc", "TS_01_003-0.0.mrc"], [-3.0, 3.0, 0.0]),
        (["TS-01-001-3.0.mrc", "TS-01-002--3.0.mrc"], [3.0, -3.0]),
        (["TS-01-001-3.0.mrc", "TS-01-002-0.0.mrc"], [3.0, 0.0]),
        (["TS-01-001_-3.mrc", "TS-01-002_3.mrc"], [-3.0, 3.0]),
    ],
)
def test_separators_stand_for_each_other_and_no_minus_is_lost(tmp_path, names, tilts):
    (series,) = series_by_pattern(tmp_path, "{TS}_{TO}_{TA}.mrc", names).values()
    assert [exposure.tilt_deg for exposure in series] == tilts


def test_patterns_that_cannot_be_are_explained(session):
    with pytest.raises(UserInputError, match=r"lacks \{TA\}"):
        series_by_pattern(session, "{TS}_{TO}.tif")
    with pytest.raises(UserInputError, match=r"no file in .* fits the pattern"):
        series_by_pattern(session, "x{TS}_{TO}_{TA}.png")


def test_the_series_of_a_name():
    assert series_of_movie_name("TS_07_012_-36.0.tif") == "TS_07"
    assert series_of_movie_name("017_01.mrc") is None
