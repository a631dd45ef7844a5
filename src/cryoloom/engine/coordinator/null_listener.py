"""A listener that ignores everything: for scripts."""

from __future__ import annotations

from cryoloom.engine.graph.workflow import Workflow
from cryoloom.engine.worker.task import Outcome, Task
from cryoloom.store.records import ItemRecord

__all__ = ["NullListener"]


class NullListener:
    """Ignores all events."""

    def planned(self, workflow: Workflow) -> None:
        """Nothing."""

    def started(self, task: Task) -> None:
        """Nothing."""

    def progress(self, task: Task, done: int, total: int) -> None:
        """Nothing."""

    def finished(self, node: str, item: ItemRecord) -> None:
        """Nothing."""

    def processed_ahead(self, outcome: Outcome) -> None:
        """Nothing."""
