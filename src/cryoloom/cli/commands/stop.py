"""Stop a running process."""

from __future__ import annotations

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say
from cryoloom.engine.worker.interruption import ask_to_stop
from cryoloom.store.reading import ProjectReader

__all__ = ["stop"]


def stop(project: ProjectOption) -> None:
    """Stop the process that works on a project; finished results are kept."""
    with ProjectReader(project):  # raises if this is not a project
        ask_to_stop(project)
    say(f"asked to stop; continue with `cryoloom resume --project {project}`")
