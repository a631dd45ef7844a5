"""Inputs of gathering tasks are passed to workers in a file: hundreds of items are too long for a message."""

from __future__ import annotations

import json
import shutil
import uuid
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryoloom.engine.worker.durable_files import write_durably
from cryoloom.engine.worker.task import Task
from cryoloom.errors import TransientError

__all__ = ["HandedOver", "forget_handed_over", "hand_over"]

_FOLDER = Path("cache") / "handed_over"
_LONG_BYTES = 1 << 20
"""Chosen: Dask warns of messages of 10 MB."""


class HandedOver:
    """A task whose inputs may be in a file of the project."""

    def __init__(self, task: Task, path: Path | None) -> None:
        self.task = task
        """Without the inputs that are in the file."""
        self._path = path

    def taken(self) -> Task:
        """The whole task, on a worker. Raises TransientError if the file cannot be read."""
        if self._path is None:
            return self.task
        try:
            value, others = json.loads(zlib.decompress(self._path.read_bytes()))
        except (OSError, ValueError, zlib.error) as error:
            raise TransientError(f"the inputs {self._path} cannot be read: {error}; resume") from error
        return replace(
            self.task,
            value=_as_taken(value),
            others={role: _as_taken(taken) for role, taken in others.items()},
        )

    def forget(self) -> None:
        """Remove the file."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def hand_over(task: Task) -> HandedOver:
    """Write the inputs of a task to a file if they are long; only gathering tasks have such."""
    if not any(isinstance(taken, tuple) for taken in (task.value, *task.others.values())):
        return HandedOver(task, None)
    text = json.dumps([task.value, task.others], separators=(",", ":")).encode()
    if len(text) < _LONG_BYTES:
        return HandedOver(task, None)
    folder = task.project / _FOLDER
    path = folder / f"{task.key[:16]}.{uuid.uuid4().hex[:8]}.json"
    write_durably(path, lambda file: file.write(zlib.compress(text, 1)))
    return HandedOver(replace(task, value={}, others={}), path)


def forget_handed_over(project: Path) -> None:
    """Remove the files of a coordinator that died."""
    shutil.rmtree(project / _FOLDER, ignore_errors=True)


def _as_taken(data: Any) -> Any:
    """JSON has no tuples: a list was a tuple of gathered items."""
    return tuple(data) if isinstance(data, list) else data
