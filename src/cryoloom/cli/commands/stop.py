"""Stop the process that works."""

from __future__ import annotations

from cryoloom.cli.options import ProjectOption
from cryoloom.cli.terminal import say
from cryoloom.engine.worker.interruption import ask_to_stop
from cryoloom.store.reading import ProjectReader

__all__ = ["stop"]


def stop(project: ProjectOption) -> None:
    """Ask the process that works on a project to stop; what is finished stays."""
    with ProjectReader(project):  # says what is wrong where this is no project
        ask_to_stop(project)
    say(f"asked to stop; go on with `cryoloom resume --project {project}`")
