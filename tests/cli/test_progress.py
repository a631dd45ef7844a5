"""Progress: a line for every finished item on the screen, or an event for scripts."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest
from rich.console import Console

from cryoloom.cli.progress import BarListener, JsonListener
from cryoloom.engine.graph.workflow import Workflow
from cryoloom.store.records import ItemRecord
from makers.fakes import fake_steps

pytestmark = pytest.mark.usefixtures("fake_steps")
__all__ = ["fake_steps"]

TASK = SimpleNamespace(node="draw", item="TS_01")


def item(state="done", **more):
    return ItemRecord(run_id=1, name="TS_01", key="k", state=state, seconds=12.34, **more)


def workflow():
    made = Workflow.model_validate(
        {"name": "two", "steps": [{"step": "find_series"}, {"step": "draw"}], "notes": ["draw stays native"]}
    )
    return made


@pytest.fixture
def screen():
    out = io.StringIO()
    return out, Console(file=out, width=200, force_terminal=False)


def test_a_line_for_each_end(screen):
    out, console = screen
    with BarListener(console) as bars:
        bars.planned(workflow())
        bars.started(TASK)
        bars.progress(TASK, 1, 5)
        bars.finished(
            "draw", item(figures={"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, warnings=("too few [tilts]",))
        )
        bars.finished("draw", item(reused_from=4))
        bars.finished("draw", item("failed", error={"message": "no [licence]", "facts": {"n": 1}}))
        bars.finished("draw", item("left_out", reason="dark"))
    text = out.getvalue()
    assert "note    draw stays native" in text
    assert "done    TS_01  draw                 12.3 s  a 1  b 2  c 3\n" in text  # the first three figures
    assert "note    TS_01  draw: too few [tilts]" in text  # brackets are no markup
    assert "reused" in text
    assert "failed  TS_01  draw: no [licence] (n=1)" in text
    assert "left out TS_01  draw: dark" in text


def test_events_are_lines_of_json(screen):
    out, console = screen
    with JsonListener(console) as events:
        events.planned(workflow())
        events.started(TASK)
        events.progress(TASK, 2, 5)
        events.finished("draw", item(figures={"mean": 2.5}))
        events.finished("draw", item("failed", error={"message": "no licence"}))
        events.processed_ahead(SimpleNamespace(task=TASK, error=None))
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "planned", "started", "progress", "finished", "finished", "processed_ahead",
    ]  # fmt: skip
    assert lines[0]["steps"] == ["find_series", "draw"]
    assert (lines[2]["done"], lines[2]["total"]) == (2, 5)
    assert (lines[3]["seconds"], lines[3]["figures"]) == (12.34, {"mean": 2.5})
    assert lines[4]["error"] == "no licence"
