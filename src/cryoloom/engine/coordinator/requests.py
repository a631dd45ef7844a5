"""What a user asks of a running coordinator: files that it finds, and removes when it does what they say."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["ask_to_gather", "asked_to_gather", "forget_requests"]

_FOLDER = "requests"


def ask_to_gather(project: Path, node: str) -> None:
    """Ask that a gathering step begins with what has come to it by now."""
    (project / _FOLDER).mkdir(exist_ok=True)
    (project / _FOLDER / f"gather_{node}").touch()


def asked_to_gather(project: Path, node: str) -> bool:
    """Whether somebody asked; the request is removed."""
    try:
        (project / _FOLDER / f"gather_{node}").unlink()
    except FileNotFoundError:
        return False
    return True


def forget_requests(project: Path) -> None:
    """Remove what nobody did: a coordinator begins without requests."""
    shutil.rmtree(project / _FOLDER, ignore_errors=True)
