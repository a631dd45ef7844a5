"""Paths that the browser may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import UserInputError
from cryoloom.web.roots import Roots


def test_hidden_and_climbing_paths_are_refused_and_links_are_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "data", tmp_path / "other"
    for folder in (inside / "raw", inside / ".hidden", outside):
        folder.mkdir(parents=True)
    (inside / "out").symlink_to(outside)
    (inside / "in").symlink_to(inside / "raw")
    roots = Roots((inside,))
    assert roots.checked("raw") == roots.checked(str(inside / "raw")) == (inside / "raw").resolve()
    assert roots.checked("in") == (inside / "raw").resolve()
    for text, words in (
        ("../other", "are not allowed"),
        (".hidden", "hidden folders"),
        ("out", "is outside of"),
        (str(outside), "--root FOLDER"),
        ("/etc/passwd", "--root FOLDER"),
        ("raw/none", "does not exist"),
        ("a\0b", "not a path"),
        ("", "not a path"),
    ):
        with pytest.raises(UserInputError, match=words):
            roots.checked(text)
    assert roots.holds(inside / "raw" / "a.mrc")
    assert not roots.holds(inside / "out" / "a.mrc")


def test_a_folder_is_listed_without_what_is_hidden_or_leads_out(tmp_path: Path) -> None:
    for name in ("b", "a", ".c"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "movie.tif").touch()
    path, folders, n_files = Roots((tmp_path,)).listed("")
    assert path == tmp_path.resolve()
    assert [folder.name for folder in folders] == ["a", "b"]
    assert n_files == 2  # the movie and the link
    with pytest.raises(UserInputError, match="is not a folder"):
        Roots((tmp_path,)).listed("movie.tif")


def test_a_folders_listing_is_plain_data(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "movie.tif").touch()
    here = str(tmp_path.resolve())
    assert Roots((tmp_path,)).listing("") == {"path": here, "folders": [f"{here}/raw"], "n_files": 1}
