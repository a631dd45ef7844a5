"""The disk budget of a project: a task begins when its output fits.

Counted are the files that are recorded, what running tasks will write, and what is free on the disk. Where
the room is not enough, files that need not be kept are removed first (`coordinator.retention`).
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryoloom.engine.coordinator.retention import Keep, clean, removable
from cryoloom.engine.worker.task import Outcome, Task, bytes_stored
from cryoloom.errors import TransientError
from cryoloom.store.database import Database
from cryoloom.store.disk import disk_by_run

__all__ = ["DiskBudget", "DiskPolicy"]

_LEFT_FREE_BYTES = 500_000_000
"""For the database, logs and the report; of a small disk, a fiftieth."""


@dataclass(frozen=True, slots=True)
class DiskPolicy:
    """Disk budget of a project, and the files it keeps."""

    budget_bytes: int | None = None
    """Limit for all its files together; None for no limit but the disk."""
    keep: Keep = "everything"
    keep_by_node: Mapping[str, Keep] = field(default_factory=dict)


class DiskBudget:
    """Says which tasks may begin."""

    def __init__(self, project: Path, database: Database, policy: DiskPolicy) -> None:
        self._project, self._database, self._policy = project, database, policy
        by_run = disk_by_run(database, project)
        self._used = sum(n_bytes for _, n_bytes, _ in by_run)
        self._made = {run.node: n_bytes // n_items for run, n_bytes, n_items in by_run}
        """The most that an item of a node took."""

    def written(self, outcome: Outcome) -> None:
        """A task has ended: its files are on the disk now."""
        n_bytes = sum(file.bytes for file in outcome.files)
        self._used += n_bytes
        self._made[outcome.task.node] = max(self._made.get(outcome.task.node, 0), n_bytes)

    def has_room(self, task: Task, running: Collection[Task]) -> bool:
        """Whether there is room for what a task will write, in addition to what running tasks will write.

        Raises TransientError if it does not and nothing is under way that could change this.
        """
        needed = self._estimate(task)
        if not needed or self._room(running) >= needed:
            return True
        if self._policy.keep != "everything" or self._policy.keep_by_node:
            chosen = removable(self._database, self._project, self._policy.keep, self._policy.keep_by_node)
            self._used -= clean(self._database, self._project, chosen)
            if self._room(running) >= needed:
                return True
        if running:
            return False
        raise TransientError(
            f"there is no room for what {task.node} of {task.item} will write: {self._said()}; "
            "free some space (`cryoloom clean --dry-run` lists what can be made again) or raise "
            "--disk-budget, then resume",
            needed_gb=round(needed / 1e9, 2),
            room_gb=round(max(self._room(running), 0) / 1e9, 2),
        )

    def _estimate(self, task: Task) -> int:
        return max(self._made.get(task.node, 0), bytes_stored(task))

    def _room(self, running: Collection[Task]) -> int:
        disk = shutil.disk_usage(self._project)
        room = disk.free - min(_LEFT_FREE_BYTES, disk.total // 50)
        if self._policy.budget_bytes is not None:
            room = min(room, self._policy.budget_bytes - self._used)
        return room - sum(self._estimate(task) for task in running)

    def _said(self) -> str:
        budget = self._policy.budget_bytes
        if budget is None:
            return "the disk is nearly full"
        return f"the project takes {self._used / 1e9:.1f} GB of its budget of {budget / 1e9:.1f} GB"
