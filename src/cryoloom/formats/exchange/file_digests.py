"""Digests of the contents of files: a result made from a file is recomputed when the file changes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["file_digests"]


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file's content by its path; a folder gives its files, a missing path nothing."""
    digests: dict[str, str] = {}
    for path in sorted(set(paths)):
        if path.is_dir():
            digests |= file_digests(entry for entry in path.iterdir() if entry.is_file())
        elif path.is_file():
            with path.open("rb") as file:
                digests[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests
