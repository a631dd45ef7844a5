"""Mdocs in the folder a user names, below it, or beside it."""

from __future__ import annotations

import pytest

from cryoloom.formats.session.mdoc_search import files_near, find_mdocs


@pytest.fixture
def session(tmp_path):
    """``grid/frames``, ``grid/mdoc``, and another grid beside."""
    for place in ("grid/frames", "grid/mdoc", "other/deep"):
        (tmp_path / "year" / place).mkdir(parents=True)
    return tmp_path / "year" / "grid"


def touch(*paths):
    for path in paths:
        path.write_text("")


def test_the_nearest_ones_count(session):
    touch(session / "frames" / "TS_02.mdoc", session / "frames" / "TS_01.mdoc", session / "mdoc" / "X.mdoc")
    found = find_mdocs(session / "frames")
    assert [path.name for path in found.paths] == ["TS_01.mdoc", "TS_02.mdoc"]
    assert (found.note, found.is_beside) == ("", False)


def test_those_below_are_named(session):
    touch(session / "mdoc" / "TS_01.mdoc")
    found = find_mdocs(session)
    assert [path.name for path in found.paths] == ["TS_01.mdoc"]
    assert found.note == f"the mdocs are below {session}: {session / 'mdoc'}"
    assert not found.is_beside


def test_those_beside_may_be_of_another_session(session):
    touch(session / "mdoc" / "TS_01.mdoc")
    found = find_mdocs(session / "frames")
    assert [path.name for path in found.paths] == ["TS_01.mdoc"]
    assert found.is_beside
    assert "beside or above" in found.note


def test_nothing_found_says_where_was_looked(session):
    found = find_mdocs(session / "frames")
    assert found.paths == ()
    assert str(session / "frames") in found.searched
    assert "up to 2 folders" in found.searched


def test_a_pattern_with_folders_is_not_widened(session):
    touch(session / "mdoc" / "TS_01.mdoc")
    assert find_mdocs(session / "frames", "mdocs/*.mdoc").paths == ()


def test_files_near_go_one_level_below_the_folders_beside(session):
    touch(
        session / "gain.mrc",
        session / "mdoc" / "a.txt",
        session / "frames" / "movie.eer",
        session / "mdoc" / ".hidden",
    )
    near = {path.name for path in files_near(session / "frames")}
    assert near == {"gain.mrc", "a.txt"}
