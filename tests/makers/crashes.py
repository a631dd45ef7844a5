"""Coordinators in processes of their own, to be killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil

from cryoloom.engine.project import Project

__all__ = ["FAKE_PROGRAM", "descendants", "kill", "recorded", "start"]

TESTS = Path(__file__).resolve().parents[1]
FAKE_PROGRAM = """
import sys
from makers import fakes_on_workers
from cryoloom.engine.project import Project
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.executors.workplace import Workplace
folder, executor, plan = sys.argv[1:]
Project.open(folder, create=True).run_workflow(
    Workflow.model_validate_json(plan),
    executor=Workplace(executor, "cpu", workers=2 if executor in ("threads", "local") else None),
)
"""


def start(program: str, folder: Path, executor: str, plan: str) -> subprocess.Popen[bytes]:
    paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": ":".join(filter(None, paths)),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": f'["{TESTS / "makers" / "fakes_on_workers.py"}"]',
    }
    command = [sys.executable, "-c", program, str(folder), executor, plan]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def recorded(folder: Path) -> dict[tuple[int, str], str]:
    """What is recorded as done: key by run and name."""
    if not (folder / "project.sqlite").exists():
        return {}
    items = Project.open(folder).database.items(with_values=False)
    return {(item.run_id, item.name): item.key for item in items if item.state == "done"}


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
