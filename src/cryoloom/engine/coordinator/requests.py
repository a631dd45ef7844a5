"""Requests to a running coordinator: files that it finds, and removes when it acts on them."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["ask_to_gather", "asked_to_gather", "forget_requests"]

_FOLDER = "requests"


def ask_to_gather(project: Path, node: str) -> None:
    """Request that a gathering step starts with the items so far."""
    (project / _FOLDER).mkdir(exist_ok=True)
    (project / _FOLDER / f"gather_{node}").touch()


def asked_to_gather(project: Path, node: str) -> bool:
    """Whether there is a request; it is removed."""
    try:
        (project / _FOLDER / f"gather_{node}").unlink()
    except FileNotFoundError:
        return False
    return True


def forget_requests(project: Path) -> None:
    """Remove old requests: a coordinator starts without any."""
    shutil.rmtree(project / _FOLDER, ignore_errors=True)
