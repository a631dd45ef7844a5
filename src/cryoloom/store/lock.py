"""One coordinator per project: an advisory lock that the system releases when the process dies."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryoloom.errors import UserInputError

__all__ = ["coordinator_lock"]


@contextmanager
def coordinator_lock(folder: Path) -> Iterator[None]:
    """Hold the project; raises UserInputError that names the process holding it already."""
    path = folder / ".coordinator"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise UserInputError(
                f"{folder} is being worked on by {holder}; wait for it, or stop it with `cryoloom stop`"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
