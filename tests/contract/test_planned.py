"""Planned steps: a workflow may name them, and a step that exists is none of them."""

from __future__ import annotations

from cryoloom import model
from cryoloom.contract.discovery import all_steps
from cryoloom.contract.planned import PLANNED, PlannedStep


def test_a_step_can_be_skipped_if_it_gives_what_it_takes():
    assert PlannedStep("sharpen", "Tomogram", "Tomogram", "Sharpen.").can_be_skipped
    assert not PlannedStep("segment", "Tomogram", "Segmentation", "Segment.").can_be_skipped
    assert not PlannedStep("import_volumes", None, "Tomogram", "Import.").can_be_skipped


def test_planned_steps_do_not_exist_and_their_types_do():
    assert not {planned.name for planned in PLANNED} & set(all_steps())
    for planned in PLANNED:
        assert hasattr(model, planned.gives)
        assert planned.needs is None or hasattr(model, planned.needs)
