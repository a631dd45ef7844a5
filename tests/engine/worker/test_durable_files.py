"""Files appear whole or not at all, and a full disk is an error of the machine."""

import pytest

from cryoloom.engine.worker.durable_files import write_durably
from cryoloom.errors import TransientError


def test_a_file_appears_with_its_folder_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "a.bin"
    for content in (b"first", b"second"):
        write_durably(path, lambda file, content=content: file.write(content))
        assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == ["a.bin"]


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fills_the_disk(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        TransientError, match=r"a\.bin cannot be written: No space left on device; free space"
    ):
        write_durably(path, fills_the_disk)
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]
