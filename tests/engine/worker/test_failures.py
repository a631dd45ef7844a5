"""Errors as data and back: whose fault it is survives the way between processes."""

from __future__ import annotations

import errno
import json

import pytest

from cryoloom.engine.worker.failures import PartError, describe_error, raise_described
from cryoloom.engine.worker.interruption import StepInterrupted
from cryoloom.errors import CryoloomError, DataUnfitError, TransientError, UserInputError


def caught(failure):
    try:
        raise failure
    except (OSError, MemoryError, KeyError, CryoloomError, StepInterrupted) as error:
        return describe_error(error)


@pytest.mark.parametrize("kind", [UserInputError, DataUnfitError, TransientError])
def test_errors_for_the_user_come_back_as_they_were(kind):
    described = json.loads(json.dumps(caught(kind("too few tilts", item="TS_01", n_tilts=4))))
    assert described == {
        "kind": kind.__name__,
        "message": "too few tilts",
        "facts": {"item": "TS_01", "n_tilts": "4"},
    }
    with pytest.raises(kind, match="too few tilts") as raised:
        raise_described(described)
    assert raised.value.facts["n_tilts"] == "4"


def test_a_full_disk_and_memory_are_the_machines_fault():
    full = caught(OSError(errno.ENOSPC, "No space left on device", "/data/x.mrc"))
    assert full["kind"] == "TransientError"
    assert full["message"].startswith("/data/x.mrc could not be written: No space left on device; fix that")
    assert caught(MemoryError("9 GiB"))["kind"] == "TransientError"


def test_anything_else_is_a_bug_with_its_traceback():
    described = caught(KeyError("pose"))
    assert (described["kind"], described["message"]) == ("KeyError", "KeyError: 'pose'")
    assert "raise failure" in described["traceback"]
    with pytest.raises(PartError, match="KeyError: 'pose'") as raised:
        raise_described(described)
    again = describe_error(raised.value)
    assert again["kind"] == "PartError"
    assert again["traceback"].startswith(described["traceback"])
    assert "The step that waited for this part" in again["traceback"]


def test_a_file_that_is_not_there_is_a_bug_and_not_the_machine():
    assert caught(FileNotFoundError(errno.ENOENT, "No such file", "x"))["kind"] == "FileNotFoundError"


def test_an_interruption_stays_one():
    with pytest.raises(StepInterrupted, match="stopped by the user"):
        raise_described(caught(StepInterrupted("align of TS_01 was stopped by the user")))
