"""One coordinator per project: an advisory lock that the system releases when the process dies.

The lock's file also names the coordinator, so that a worker that outlives its own coordinator can detect that
another one has taken over, and stops writing.
"""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoloom.errors import UserInputError

__all__ = ["coordinator_lock", "coordinator_of", "is_being_worked_on"]

_FILE = ".coordinator"


@contextmanager
def coordinator_lock(folder: Path) -> Iterator[str]:
    """Lock the project; yields a name that is unique to this lock.

    Raises UserInputError with the name of the process that holds it already.
    """
    with (folder / _FILE).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.readline().strip() or "another process"
            raise UserInputError(
                f"{folder} is being worked on by {holder}; "
                f"wait for it, or stop it with `cryoloom stop --project {folder}`"
            ) from error
        name = uuid.uuid4().hex
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n{name}\n")
        file.flush()
        yield name


def coordinator_of(folder: Path) -> str:
    """Name of the lock taken last."""
    lines = (folder / _FILE).read_text().splitlines()
    return lines[1] if len(lines) > 1 else ""


def is_being_worked_on(folder: Path) -> bool:
    """Whether a coordinator holds the lock now."""
    try:
        with (folder / _FILE).open() as file:
            words = file.readline().split()  # process NUMBER on HOST
            if len(words) == 4 and words[3] == socket.gethostname() and not _is_alive(int(words[1])):
                return False
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
