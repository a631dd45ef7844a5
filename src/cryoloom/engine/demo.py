"""The demo: raw movies are simulated, processed and reported, to check the installation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryoloom.engine.coordinator.scheduler import Listener, Summary
from cryoloom.engine.project import Project
from cryoloom.simulate.session import SimulationParams, simulate_session

__all__ = ["make_demo"]


def make_demo(
    directory: Path, *, listener: Listener, device: str, say: Callable[[str], None]
) -> tuple[Project, Summary]:
    """Simulate a session into ``directory/raw`` and process it into ``directory/project``.

    Existing results are kept: a second demo continues where the first one stopped.
    """
    raw = directory / "raw"
    params = SimulationParams()
    if (raw / "truth.json").exists():
        say(f"raw movies are already in {raw}")
    else:
        say(f"simulating raw movies into {raw} ...")
        simulate_session(params, raw)
    project = Project.open(directory / "project", create=True)
    say(f"processing them into {project.folder} ...")
    summary = project.process(raw, device=device, listener=listener)
    return project, summary
