"""The tilt axis of a session from its records; nothing is computed, and no step is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryoloom.algorithms.series.axis_consensus import LEAST_SERIES, AxisConsensus, axis_consensus
from cryoloom.contract.discovery import step_sources
from cryoloom.contract.step_facts import StepFacts, step_facts
from cryoloom.engine.history.results import by_activity, named_run
from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.absent import open_if_present
from cryoloom.model import Item, TiltSeries
from cryoloom.store.codec import decode
from cryoloom.store.reading import Reader
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["aligning_run", "can_hold_axis", "names_of_steps", "session_axis"]


def aligning_run(database: Reader, folder: Path, run: str | int | None = None) -> RunRecord:
    """The given run, or the latest one that aligned enough series for a consensus."""
    if run is not None:
        found = named_run(database.runs(), run)
        if not _aligns(step_facts(found.step)):
            raise UserInputError(
                f"run {found.id} is of {found.step}, expected one of {names_of_steps(_aligns)}; "
                f"see `cryoloom log --project {folder}`"
            )
        return found
    aligning = [found for found in database.runs() if _aligns(step_facts(found.step))]
    if not aligning:
        raise UserInputError(
            f"no series was aligned in this project yet; run one of {names_of_steps(_aligns)} first"
        )
    of_session = [found for found in aligning if _n_done(database, found) >= LEAST_SERIES]
    return max(of_session or aligning, key=lambda found: found.id)


def _aligns(step: StepFacts) -> bool:
    return "poses" in step.source_of


def can_hold_axis(step: StepFacts) -> bool:
    """Whether a step aligns with a given tilt axis."""
    return step.held_axis is not None


def names_of_steps(chosen: Callable[[StepFacts], bool]) -> str:
    """Steps of a kind, for a message."""
    return " or ".join(name for name in step_sources() if chosen(step_facts(name)))


def _n_done(database: Reader, run: RunRecord) -> int:
    return sum(item.state == "done" for item in database.items(run.id, with_values=False))


def session_axis(
    database: Reader, folder: Path, run: str | int | None = None
) -> tuple[RunRecord, AxisConsensus]:
    """A run, and the consensus over the series it aligned; over all of the project if no run is named.

    For the whole project, the newest alignment of each series with a free axis is used; the run is the one
    with most of these. The hand of a series may come from a later result, since the CTF may be estimated
    after the alignment.
    """
    found = aligning_run(database, folder, run)
    if run is None:
        items = _newest_alignments(database)
        ids = [made_by.id for made_by, _ in items]
        found = max((made_by for made_by, _ in items), key=lambda one: ids.count(one.id), default=found)
    else:
        items = [(found, item) for item in database.items(found.id) if item.state == "done"]
    series: list[TiltSeries] = []
    lines: dict[str, float] = {}
    for made_by, item in items:
        value = _value(database, folder, item)
        if (aligned := value.own_series) is not None:
            known = aligned.handedness.measured is not None
            series.append(aligned if known else _with_later_hand(database, folder, aligned))
        for figure in step_facts(made_by.step).figures:
            if figure.role == "tilt_axis_evidence" and figure.name in item.figures:
                lines[item.name] = item.figures[figure.name]
    return found, axis_consensus(series, common_line_deg=lines)


def _value(database: Reader, folder: Path, item: ItemRecord) -> Item:
    """Value of an item; its pixels are lazy."""
    return decode(database.value_of(item.id or 0), folder, open_if_present)


def _newest_alignments(database: Reader) -> list[tuple[RunRecord, ItemRecord]]:
    """The newest alignment of every series by any run; one with a fixed axis only if there is no other."""
    newest: dict[str, tuple[RunRecord, ItemRecord]] = {}
    for made_by in by_activity(database.runs()):
        step = step_facts(made_by.step)
        if not _aligns(step):
            continue
        for item in database.items(made_by.id, with_values=False, with_parts=False):
            is_held = _is_held(step, {**made_by.parameters, **item.own_parameters})
            if item.state == "done" and not (is_held and item.name in newest):
                newest[item.name] = made_by, item
    return [newest[name] for name in sorted(newest)]


def _is_held(step: StepFacts, parameters: Mapping[str, Any]) -> bool:
    """Whether the tilt axis was fixed, by the step's parameters for it."""
    if step.held_axis is None:
        return False
    return all(parameters.get(name) == word for name, word in step.held_axis.items())


def _with_later_hand(database: Reader, folder: Path, series: TiltSeries) -> TiltSeries:
    """The series with the handedness that a later step measured."""
    items = [item for item in database.items(with_values=False) if item.name == series.name]
    for item in reversed([item for item in items if item.state == "done"]):
        value = _value(database, folder, item)
        latest = value.own_series
        if latest is not None and latest.handedness.measured is not None:
            return replace(series, handedness=latest.handedness)
    return series
