"""Paths that the browser may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.errors import UserInputError
from cryoloom.web.roots import Roots


def test_paths_stay_below_the_roots(tmp_path: Path) -> None:
    (tmp_path / "raw" / "frames").mkdir(parents=True)
    (tmp_path / "raw" / ".hidden").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "raw" / "out").symlink_to(tmp_path / "other")
    (tmp_path / "raw" / "in").symlink_to(tmp_path / "raw" / "frames")
    roots = Roots((tmp_path / "raw",))
    assert roots.checked("frames") == tmp_path / "raw" / "frames"
    assert roots.checked(str(tmp_path / "raw" / "in")) == tmp_path / "raw" / "frames"
    for bad in (
        "../other",
        str(tmp_path / "other"),
        "/etc/passwd",
        "out",
        ".hidden",
        "fra\0mes",
        "",
        "nothing",
    ):
        with pytest.raises(UserInputError):
            roots.checked(bad)
    path, folders, n_files = roots.listed("")
    assert (path, [folder.name for folder in folders], n_files) == (tmp_path / "raw", ["frames"], 2)
