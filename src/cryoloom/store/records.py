"""Frozen copies of the database's rows, safe to pass around."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

FANNED_OUT = "$items"
"""Key in the value of an item whose main output is a tuple of items: their names."""

__all__ = [
    "FANNED_OUT",
    "ExportRecord",
    "FileRecord",
    "ItemRecord",
    "PlanRecord",
    "RunRecord",
    "read_figures",
    "sentence",
    "stored_figures",
]


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A workflow as requested."""

    id: int
    created: datetime
    workflow: Mapping[str, Any]
    command: str
    runs: Mapping[str, int] = field(default_factory=dict)
    """Ids of the runs of its nodes, by node, as far as they were begun."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One step with one set of parameters over one set of inputs."""

    id: int
    node: str
    step: str
    step_version: int
    parameters: Mapping[str, Any]
    input_run_id: int | None
    state: str
    """running, done, failed (some items failed) or stopped."""
    created: datetime
    ended: datetime | None
    environment: Mapping[str, Any]
    comment: str = ""
    links: Mapping[str, int] = field(default_factory=dict)
    """Runs of further inputs by role, for steps that have more than one."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """For an input that is not the main output of its run: which output it is, by role ("input")."""

    @property
    def input_run_ids(self) -> tuple[int, ...]:
        """Every run this one takes items from."""
        return (*(() if self.input_run_id is None else (self.input_run_id,)), *self.links.values())

    @property
    def folder(self) -> str:
        """Folder of the run inside the project."""
        return f"runs/{self.id:03d}_{self.node}"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file an item made."""

    role: str
    path: Path
    """Relative to the project."""
    bytes: int
    is_cleaned: bool = False
    """Whether it was removed to save space; its item can be made again."""


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """One item in one run: its result, its first error, or why it was left out."""

    run_id: int
    name: str
    key: str
    state: str
    """done, failed, or left_out (a step decided that it is not processed further)."""
    value: Mapping[str, Any] | None = None
    """As encoded by `codec.encode`."""
    figures: Mapping[str, float] = field(default_factory=dict)
    not_measurable: Mapping[str, str] = field(default_factory=dict)
    """Why a figure has no value, by its name."""
    records: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    """kind, message, facts and, for a bug, traceback."""
    reason: str = ""
    """Why the item was left out."""
    files: tuple[FileRecord, ...] = ()
    started: datetime | None = None
    seconds: float = 0.0
    device: str = "cpu"
    host: str = ""
    id: int | None = None
    input_item_id: int | None = None
    other_inputs: Mapping[str, int] = field(default_factory=dict)
    """Ids of the items of further inputs, by role."""
    gathered: tuple[int, ...] = ()
    """Ids of the items that a gathering step took as its input."""
    output: str = ""
    """Which output of the step this is; "" for the main one."""
    part_of: int | None = None
    """Id of the item whose work gave this one; None for an item that a step processed."""
    reused_from: int | None = None
    """Id of the item of an earlier run whose result this is."""
    own_parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters in which this item differs from its run."""
    made_from: Mapping[str, Any] | None = None
    """``{"inputs": {role: key}, "decisions": [...] or null}``: what its result depends on besides parameters.
    Decisions are null if the result does not depend on them. None for an item of an older version."""

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Ids of all items this one was made from; for a part, the item whose work gave it."""
        single = (self.input_item_id, self.part_of)
        known = [item_id for item_id in single if item_id is not None]
        return (*known, *self.gathered, *(i for i in self.other_inputs.values()))

    @property
    def is_fanned_out(self) -> bool:
        """Whether its main output is a tuple of items: they are its parts, it has no value of its own."""
        return self.value is not None and FANNED_OUT in self.value


_NOT_MEASURABLE = "not_measurable"


def stored_figures(figures: Mapping[str, float], not_measurable: Mapping[str, str]) -> dict[str, Any]:
    """Figures as their column holds them: a number, or ``{"not_measurable": reason}``."""
    return {**figures, **{name: {_NOT_MEASURABLE: reason} for name, reason in not_measurable.items()}}


def read_figures(stored: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Figures that have a value, and the reasons of those that have none, from their column."""
    if not any(type(value) is dict for value in stored.values()):  # the usual case
        return dict(stored), {}
    values = {name: value for name, value in stored.items() if not isinstance(value, Mapping)}
    reasons = {
        name: str(value[_NOT_MEASURABLE]) for name, value in stored.items() if isinstance(value, Mapping)
    }
    return values, reasons


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """A file written outside the project, and the item it was made from."""

    item_id: int
    format: str
    path: Path
    """Absolute."""
    bytes: int
    sha256: str
    created: datetime


def sentence(error: Mapping[str, Any] | None) -> str | None:
    """An item's error as one line."""
    if error is None:
        return None
    facts = ", ".join(f"{name}={value}" for name, value in error.get("facts", {}).items())
    return f"{error['message']} ({facts})" if facts else str(error["message"])
