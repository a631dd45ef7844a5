"""Files that only their owner can read."""

from __future__ import annotations

import stat

from cryoloom.store.private_file import write_private


def test_it_is_private_from_the_start_and_replaced_as_a_whole(tmp_path):
    path = tmp_path / "secret"
    path.write_text("readable by all")
    path.chmod(0o644)
    write_private(path, "token")
    assert path.read_text() == "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]
