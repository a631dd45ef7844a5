"""The log of one item: warnings and figures of its step, and output of outside programs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["LOG_NAME", "ItemLog"]

LOG_NAME = "log.txt"
_MOST_TAIL_BYTES = 200_000
"""Chosen: the end of a program's output, where its error is."""


class ItemLog:
    """Lines are appended to a file at once. It begins with the first line, under a heading."""

    def __init__(self, path: Path, heading: str) -> None:
        self.path = path
        self._heading = heading
        self._has_heading = False

    def line(self, text: str) -> None:
        """Add a line with the time."""
        self.add(f"{_now()}  {text}\n")

    def add(self, text: str) -> None:
        """Append text; lost if the disk is full, which makes the step's own files fail."""
        with contextlib.suppress(OSError), self.opened() as descriptor:
            os.write(descriptor, text.encode(errors="replace"))

    @property
    def is_begun(self) -> bool:
        """Whether anything was written by this object."""
        return self._has_heading

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor that adds to the file, for a program to print to."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if self._heading and not self._has_heading:
                os.write(descriptor, f"--- {_now()}  {self._heading}\n".encode())
            self._has_heading = True
            yield descriptor
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """Bytes there are."""
        return self.path.stat().st_size if self.path.exists() else 0

    def tail(self, start: int) -> str:
        """Text appended since a size; at most the last 200 kB."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(max(start, self.size() - _MOST_TAIL_BYTES))
            return file.read().decode(errors="replace")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
