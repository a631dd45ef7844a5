"""One coordinator per project: a second is refused with the name of the first."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.lock import coordinator_lock, coordinator_of, is_being_worked_on


def test_a_second_coordinator_is_refused(tmp_path):
    assert not is_being_worked_on(tmp_path)
    with coordinator_lock(tmp_path) as name:
        assert coordinator_of(tmp_path) == name
        assert is_being_worked_on(tmp_path)
        with (
            pytest.raises(UserInputError, match=r"is being worked on by process \d+ on"),
            coordinator_lock(tmp_path),
        ):
            pass
    assert not is_being_worked_on(tmp_path)


def test_each_holding_has_a_name_of_its_own(tmp_path):
    with coordinator_lock(tmp_path) as first:
        pass
    with coordinator_lock(tmp_path) as second:
        assert first != second == coordinator_of(tmp_path)


def test_a_process_that_is_gone_holds_nothing(tmp_path):
    import socket

    (tmp_path / ".coordinator").write_text(f"process 999999999 on {socket.gethostname()}\nx\n")
    assert not is_being_worked_on(tmp_path)
