"""Digests that change with the content of files, and with nothing else."""

from __future__ import annotations

import hashlib

from cryoloom.formats.exchange.file_digests import file_digests


def test_digests_follow_the_content(tmp_path):
    path = tmp_path / "map.mrc"
    path.write_bytes(b"density")
    first = file_digests([path, path])
    assert first == {str(path): hashlib.sha256(b"density").hexdigest()}
    path.touch()
    assert file_digests([path]) == first
    path.write_bytes(b"other")
    assert file_digests([path]) != first


def test_a_folder_gives_its_files_and_what_is_missing_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b", "a"):
        (tmp_path / "in" / name).write_text(name)
    assert list(file_digests([tmp_path / "in", tmp_path / "none"])) == [
        str(tmp_path / "in" / "a"),
        str(tmp_path / "in" / "b"),
    ]
