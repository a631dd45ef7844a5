"""Errors as data, and back: they are sent between workers, and stored with the item that failed."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Mapping
from typing import Any

from cryoloom.engine.worker.interruption import StepInterrupted
from cryoloom.errors import CryoloomError, DataUnfitError, TransientError, UserInputError

__all__ = ["PartError", "describe_error", "raise_described"]

# errno values that mean the machine, not the data
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM, errno.ESTALE, errno.EMFILE}


class PartError(RuntimeError):
    """A bug in a part of a step's work, with its traceback."""

    def __init__(self, message: str, traceback_text: str) -> None:
        super().__init__(message)
        self.traceback_text = traceback_text


def describe_error(failure: Exception) -> dict[str, Any]:
    """An exception as data: its kind, message and facts, and the traceback for a bug."""
    if isinstance(failure, OSError) and not isinstance(failure, CryoloomError) and failure.errno in _MACHINE:
        failure = TransientError(
            f"{failure.filename or 'a file'} could not be written: {failure.strerror}; "
            "fix that and run `cryoloom resume`"
        )
    if isinstance(failure, MemoryError):
        failure = TransientError(f"memory ran out: {failure}; use fewer workers or a larger binning")
    if isinstance(failure, CryoloomError):
        facts = {name: str(value) for name, value in failure.facts.items()}
        return {"kind": type(failure).__name__, "message": failure.message, "facts": facts}
    where = "".join(traceback.format_exception(failure))
    if isinstance(failure, PartError):
        return {
            "kind": "PartError",
            "message": str(failure),
            "facts": {},
            "traceback": f"{failure.traceback_text}\nThe step that waited for this part:\n{where}",
        }
    return {
        "kind": type(failure).__name__,
        "message": f"{type(failure).__name__}: {failure}",
        "facts": {},
        "traceback": where,
    }


def raise_described(error: Mapping[str, Any]) -> None:
    """Raise the error that `describe_error` described: one for the user, or a `PartError`."""
    known = {kind.__name__: kind for kind in (UserInputError, DataUnfitError, TransientError)}
    if error["kind"] in known:
        raise known[error["kind"]](error["message"], **error["facts"])
    if error["kind"] == StepInterrupted.__name__:
        raise StepInterrupted(error["message"])
    raise PartError(error["message"], error.get("traceback", ""))
