"""Small graphs of fake steps, and a listener that remembers what was worked on."""

from __future__ import annotations

from cryoloom.engine.coordinator.null_listener import NullListener
from cryoloom.engine.graph.workflow import Workflow


class Diary(NullListener):
    """Remembers what was worked on."""

    def __init__(self):
        self.worked_on = []

    def started(self, task):
        self.worked_on.append((task.node, task.item))


def run(project, *steps):
    diary = Diary()
    workflow = Workflow.model_validate({"name": "graph", "steps": list(steps)})
    return project.run_workflow(workflow, listener=diary), diary.worked_on


def two_branches(**second):
    return (
        {"step": "find_series"},
        {"step": "draw"},
        {"step": "smooth", "parameters": {"width": 2}, **second},
        {"step": "merge", "input": "draw", "second_from": "smooth"},
    )
