"""The tilt axis of a session from what is recorded, and outlying series aligned again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryoloom.algorithms.alignment.axis_consensus import LEAST_SERIES, AxisConsensus, axis_consensus
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.project import Project
from cryoloom.errors import UserInputError
from cryoloom.model import TiltSeries, Tomogram
from cryoloom.store.records import RunRecord

__all__ = ["align_outlying_again", "aligning_run", "session_axis"]

_ALIGNING = ("align_series", "import_alignment")


def aligning_run(project: Project, run: str | int | None = None) -> RunRecord:
    """The run told, or the latest one that aligned enough series for a consensus."""
    if run is not None:
        found = project.find_run(run)
        if found.step not in _ALIGNING:
            raise UserInputError(
                f"run {found.id} is of {found.step}, expected one of {' or '.join(_ALIGNING)}; see "
                "`cryoloom log`"
            )
        return found
    aligning = [found for found in project.database.runs() if found.step in _ALIGNING]
    if not aligning:
        raise UserInputError("no series was aligned in this project yet; run align_series first")
    of_session = [found for found in aligning if _n_done(project, found) >= LEAST_SERIES]
    return max(of_session or aligning, key=lambda found: found.id)


def _n_done(project: Project, run: RunRecord) -> int:
    return sum(item.state == "done" for item in project.database.items(run.id, with_values=False))


def session_axis(project: Project, run: str | int | None = None) -> tuple[RunRecord, AxisConsensus]:
    """The run, and the consensus over the series it aligned.

    The hand of a series may come from a later result, since the CTF may be estimated after the alignment.
    """
    found = aligning_run(project, run)
    series: list[TiltSeries] = []
    lines: dict[str, float] = {}
    for item in project.database.items(found.id):
        if item.state != "done":
            continue
        value = project.value(item)
        if isinstance(value, TiltSeries):
            series.append(value if value.handedness.measured else _with_later_hand(project, value))
        if "axis_by_common_line_deg" in item.figures:
            lines[item.name] = item.figures["axis_by_common_line_deg"]
    return found, axis_consensus(series, common_line_deg=lines)


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
    """Align the outlying series again with the axis held at the session's, as a run; None where none is.

    how : executor and listener, as `Project.run` takes them.
    """
    found, consensus = session_axis(project, run)
    if not consensus.outlying:
        return None
    if found.step != "align_series":
        raise UserInputError(
            f"run {found.id} took its alignment from another program; align its series with align_series and "
            f"tilt_axis_deg={consensus.axis_deg:.2f}"
        )
    summary = project.run(
        "align_series",
        like=found.id,
        items=consensus.outlying,
        tilt_axis_deg=round(consensus.axis_deg, 3),
        axis="fixed",
        **how,
    )
    made = max(run.id for run in project.database.runs() if run.step == "align_series")
    project.comment(
        made,
        f"tilt axis held at the session's: {consensus.axis_deg:.2f} +- {consensus.error_deg:.2f} deg, the "
        f"median of {len(consensus.verdicts)} series of run {found.id}",
    )
    return summary
