"""Tilt axis of the session."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cryoloom.algorithms.series.axis_consensus import AxisConsensus, AxisVerdict
from cryoloom.cli.options import (
    JsonOption,
    ProjectOption,
    WorkerOptions,
)
from cryoloom.cli.parameters import as_json
from cryoloom.engine.history.session_axis import session_axis
from cryoloom.store.reading import ProjectReader

__all__ = ["axis"]

console = Console()


def axis(
    project: ProjectOption,
    workers: WorkerOptions,
    run: Annotated[
        str | None, typer.Option(help="Run that aligned the series. Unset: the latest one.")
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Align outlying series again with the axis fixed at the session's."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Tilt axis of the session: its median, the nominal, measured and applied axes, and outliers."""
    with ProjectReader(project) as reader:
        found, consensus = session_axis(reader, reader.folder, run)
    if json:
        facts = {"run": found.id, **dataclasses.asdict(consensus), "outlying": consensus.outlying}
        facts["estimators_agree"] = consensus.estimators_agree
        print(as_json(facts))  # noqa: T201 - no line breaks, no colours
    else:
        _tell(consensus, project)
    if not again:
        return
    from cryoloom.cli.conclusion import conclude, listener_for
    from cryoloom.engine.axis_again import align_outlying_again
    from cryoloom.engine.project import Project

    opened = Project.open(project)
    with listener_for(json) as listener:
        summary = align_outlying_again(opened, run, executor=workers.workplace(), listener=listener)
    if summary is None:
        if not json:
            console.print("no series is outlying; nothing to do")
        return
    conclude(opened, summary, json)


def _tell(consensus: AxisConsensus, project: Path) -> None:
    table = Table("series", "metadata", "by tracks", "by common line", "applied", "off", "verdict")
    for verdict in consensus.verdicts:
        table.add_row(
            verdict.series,
            _degrees(verdict.told_deg),
            _degrees(verdict.measured_deg),
            _degrees(verdict.common_line_deg),
            _degrees(verdict.applied_deg),
            f"{verdict.from_consensus_deg:+.2f}",
            _verdict(verdict),
        )
    console.print(table)
    lines = [f"session by tracks: {consensus.axis_deg:.2f} +- {consensus.error_deg:.2f} deg"]
    if consensus.common_line_axis_deg is None:
        lines.append("session by common lines: known for too few series")
    else:
        agree = "they agree" if consensus.estimators_agree else "the two DISAGREE: check the series"
        lines.append(
            f"session by common lines: {consensus.common_line_axis_deg:.2f} +- "
            f"{consensus.common_line_error_deg or 0.0:.2f} deg; {agree}"
        )
    lines.append(f"direction: {_DIRECTIONS[consensus.direction]}")
    if consensus.outlying:
        lines.append(
            f"outlying: {', '.join(consensus.outlying)}; "
            f"`cryoloom axis --again --project {project}` aligns them with the axis fixed"
        )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


_DIRECTIONS = {
    "as in the metadata": "as in the metadata",
    "opposite to the metadata": "opposite to the metadata: one of the two mirrors the specimens",
    "open": "open, images cannot distinguish it from the opposite direction; a known handedness would",
}


def _verdict(verdict: AxisVerdict) -> str:
    found = [
        (verdict.is_half_a_turn_off, "half a turn off"),
        (verdict.is_outlying, "outlying"),
        (verdict.is_at_odds, "tracks and common line differ"),
        (verdict.hand_agrees is False, "hand differs from the metadata"),
    ]
    return ", ".join(text for is_so, text in found if is_so) or "good"


def _degrees(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
