"""The tilt axis of a session from its records, and alignment of outlying series again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cryoloom.algorithms.series.axis_consensus import LEAST_SERIES, AxisConsensus, axis_consensus
from cryoloom.contract import Step, discovery, find_step
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.history.results import by_activity
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries, Tomogram
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["align_outlying_again", "aligning_run", "session_axis"]


def aligning_run(project: Project, run: str | int | None = None) -> RunRecord:
    """The given run, or the latest one that aligned enough series for a consensus."""
    if run is not None:
        found = project.find_run(run)
        if not _aligns(find_step(found.step)):
            raise UserInputError(
                f"run {found.id} is of {found.step}, expected one of {_names(_aligns)}; "
                f"see `cryoloom log --project {project.folder}`"
            )
        return found
    aligning = [found for found in project.database.runs() if _aligns(find_step(found.step))]
    if not aligning:
        raise UserInputError(f"no series was aligned in this project yet; run one of {_names(_aligns)} first")
    of_session = [found for found in aligning if _n_done(project, found) >= LEAST_SERIES]
    return max(of_session or aligning, key=lambda found: found.id)


def _aligns(step: Step) -> bool:
    return "poses" in step.source_of


def _holds_axis(step: Step) -> bool:
    return step.hold_axis is not None


def _names(chosen: Callable[[Step], bool]) -> str:
    """Steps of a kind, for a message."""
    return " or ".join(name for name, step in discovery.all_steps().items() if chosen(step))


def _n_done(project: Project, run: RunRecord) -> int:
    return sum(item.state == "done" for item in project.database.items(run.id, with_values=False))


def session_axis(project: Project, run: str | int | None = None) -> tuple[RunRecord, AxisConsensus]:
    """A run, and the consensus over the series it aligned; over all of the project if no run is named.

    For the whole project, the newest alignment of each series with a free axis is used; the run is the one
    with most of these. The hand of a series may come from a later result, since the CTF may be estimated
    after the alignment.
    """
    found = aligning_run(project, run)
    if run is None:
        items = _newest_alignments(project)
        ids = [made_by.id for made_by, _ in items]
        found = max((made_by for made_by, _ in items), key=lambda one: ids.count(one.id), default=found)
    else:
        items = [(found, item) for item in project.database.items(found.id) if item.state == "done"]
    series: list[TiltSeries] = []
    lines: dict[str, float] = {}
    for made_by, item in items:
        value = project.value(replace(item, value=project.database.value_of(item.id or 0)))
        if isinstance(value, TiltSeries):
            series.append(value if value.handedness.measured else _with_later_hand(project, value))
        for figure in find_step(made_by.step).figures:
            if figure.role == "tilt_axis_evidence" and figure.name in item.figures:
                lines[item.name] = item.figures[figure.name]
    return found, axis_consensus(series, common_line_deg=lines)


def _newest_alignments(project: Project) -> list[tuple[RunRecord, ItemRecord]]:
    """The newest alignment of every series by any run; one with a fixed axis only if there is no other."""
    newest: dict[str, tuple[RunRecord, ItemRecord]] = {}
    for made_by in by_activity(project.database.runs()):
        step = find_step(made_by.step)
        if not _aligns(step):
            continue
        for item in project.database.items(made_by.id, with_values=False, with_parts=False):
            is_held = _is_held(step, {**made_by.parameters, **item.own_parameters})
            if item.state == "done" and not (is_held and item.name in newest):
                newest[item.name] = made_by, item
    return [newest[name] for name in sorted(newest)]


def _is_held(step: Step, parameters: Mapping[str, Any]) -> bool:
    """Whether the tilt axis was fixed, by the step's parameters for it."""
    if step.hold_axis is None:
        return False
    words = {name: word for name, word in step.hold_axis(0.0).items() if isinstance(word, str)}
    return all(parameters.get(name) == word for name, word in words.items())


def _with_later_hand(project: Project, series: TiltSeries) -> TiltSeries:
    """The series with the handedness that a later step measured."""
    items = [item for item in project.database.items(with_values=False) if item.name == series.name]
    for item in reversed([item for item in items if item.state == "done"]):
        value = project.value(replace(item, value=project.database.value_of(item.id or 0)))
        latest = value.series if isinstance(value, Tomogram) else value
        if latest.handedness.measured is not None:
            return replace(series, handedness=latest.handedness)
    return series


def align_outlying_again(project: Project, run: str | int | None = None, **how: Any) -> Summary | None:
    """Align the outlying series again with the axis fixed at the session's, as a run; None if there are none.

    how : executor and listener, as `Project.run` takes them.
    """
    found, consensus = session_axis(project, run)
    if not consensus.outlying:
        return None
    hold = find_step(found.step).hold_axis
    if hold is None:
        raise UserInputError(
            f"run {found.id} took its alignment from another program; align its series with "
            f"{_names(_holds_axis)} and the tilt axis held at {consensus.axis_deg:.2f} deg"
        )
    summary = project.run(
        found.step, like=found.id, items=consensus.outlying, **hold(consensus.axis_deg), **how
    )
    made = max(run.id for run in project.database.runs() if run.step == found.step)
    project.comment(
        made,
        f"tilt axis held at the session's: {consensus.axis_deg:.2f} +- {consensus.error_deg:.2f} deg, the "
        f"median of {len(consensus.verdicts)} series of run {found.id}",
    )
    return summary
