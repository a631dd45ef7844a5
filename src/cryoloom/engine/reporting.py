"""From the records to the report page."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryoloom.contract import find_step
from cryoloom.contract.step import PROGRAMS_RECORD
from cryoloom.engine.environment import describe_environment
from cryoloom.engine.history.methods import methods_text
from cryoloom.engine.history.results import current_runs, history_of, sentence
from cryoloom.engine.history.side_by_side import compared_programs
from cryoloom.engine.project import Project
from cryoloom.errors import TransientError
from cryoloom.model import Average, Item, Particles, TiltSeries, Tomogram
from cryoloom.report.page import state_of_report, write_report
from cryoloom.store.current import SeriesState, current_state
from cryoloom.store.database import Database
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.version import __version__
from cryoloom.views.content import ReportContent, RunSummary, SeriesReport
from cryoloom.views.data_table import DataTable
from cryoloom.views.side_by_side import ComparedRuns, side_by_side_table
from cryoloom.views.step_results import StepResult, step_result

PICTURES_FOLDER = ".report"
"""In the project: pictures of its series, from which the report is made."""
REPORT_VERSION = 6
"""Increased when the report shows the same results differently."""

__all__ = ["report_path", "write_project_report"]


def report_path(project: Project) -> Path:
    """Path of a project's report."""
    return project.folder / "report.html"


def write_project_report(project: Project) -> Path:
    """Write the report of all records so far; it replaces the last one atomically.

    If nothing was recorded since the last one, it is not rewritten.
    """
    path = report_path(project)
    state = _state(project)
    if state_of_report(path) == state:
        return path
    history = history_of(project.database, with_records=True)
    standing = current_state(project.database).series
    content = ReportContent(
        project_name=project.folder.parent.name if project.folder.name == "project" else project.folder.name,
        made_at=datetime.now(UTC),
        cryoloom_version=__version__,
        runs=tuple(_run_summary(project.database, run) for run in current_runs(project.database)),
        series=tuple(
            replace(_series_report(project, name, made), pending=_pending(standing.get(name)))
            for name, made in history.items()
        ),
        side_by_side=_side_by_side(project.database),
        methods_text=methods_text(project.database),
        environment=describe_environment(),
        state=state,
    )
    try:
        write_report(content, path, project.folder / PICTURES_FOLDER)
    except OSError as error:
        raise TransientError(f"the report {path} could not be written: {error.strerror}") from error
    return path


def _side_by_side(database: Database) -> tuple[DataTable, ...]:
    """A table of every program run with the native run it replaces."""
    return tuple(
        side_by_side_table(
            ComparedRuns(
                names=(compared.runs[0].node, compared.runs[1].node),
                made_by=("native", _made_by(database, compared.runs[1])),
                same_input=compared.runs[0].input_run_ids == compared.runs[1].input_run_ids,
                medians=compared.medians,
                figures=compared.figures,
                not_measurable=compared.not_measurable,
                declared=compared.declared,
                states=compared.states,
                seconds=compared.seconds,
            )
        )
        for compared in compared_programs(database)
    )


def _made_by(database: Database, run: RunRecord) -> str:
    """The program of a run, or the suite of several, with the version where it is known.

    Taken from the first finished item.
    """
    items = database.items(run.id, with_values=False, with_details=False)
    done = next(item.id for item in items if item.state == "done" and item.id is not None)
    programs: dict[str, dict[str, str]] = database.item(done).records.get(PROGRAMS_RECORD.name, {})
    suite_of = {program.name: program.suite for program in find_step(run.step).programs}
    made: dict[str, None] = {}
    for name, kept in programs.items():
        shown = name if len(programs) == 1 else suite_of.get(name, name)
        made[shown if kept["version"] == "unknown" else f"{shown} {kept['version']}"] = None
    return ", ".join(made) or run.step


def _state(project: Project) -> str:
    """Digest of everything in the report: runs, results, decisions, and the program version."""
    runs = [(run.id, run.state, run.comment, run.parameters) for run in project.database.runs()]
    items = [
        (item.id, item.key, item.state, item.reason) for item in project.database.items(with_values=False)
    ]
    decisions = [(one.kind, one.item, one.target, one.value, one.why) for one in project.decisions()]
    code = __version__, REPORT_VERSION
    return hashlib.sha256(repr((code, runs, items, decisions)).encode()).hexdigest()


def _pending(standing: SeriesState | None) -> str:
    """Requests for a series that are not done yet, in words."""
    if standing is None or standing.state not in {"outdated", "pending"}:
        return ""
    deciding = standing.deciding
    return f"{deciding.node} is {deciding.state}" + (f": {deciding.why}" if deciding.why else "")


def _run_summary(database: Database, run: RunRecord) -> RunSummary:
    step = find_step(run.step)
    items = database.items(run.id, with_values=False, with_parts=False)
    devices = {item.device for item in items}
    return RunSummary(
        id=run.id,
        step=run.node,
        summary=step.summary,
        parameters=run.parameters,
        state=run.state,
        n_done=sum(item.state == "done" for item in items),
        n_failed=sum(item.state == "failed" for item in items),
        n_left_out=sum(item.state == "left_out" for item in items),
        started=run.created,
        seconds=sum(item.seconds for item in items),
        citations=step.references(run.parameters),
        device=", ".join(sorted(devices)),
    )


def _series_report(project: Project, name: str, made: list[tuple[RunRecord, ItemRecord]]) -> SeriesReport:
    """Data of one series: its furthest value, and the reports of every step."""
    series: TiltSeries | None = None
    tomogram: Tomogram | None = None
    particles: dict[str, Particles] = {}
    average: Average | None = None
    for run, item in made:
        if item.state != "done" or item.value is None or item.is_fanned_out:
            continue
        value: Item = project.value(item)
        own = value.own_series
        if own is not None and (own.tilts or series is None):  # that of an imported tomogram knows no tilts
            series = own
        match value:  # the parts of each kind that the report shows
            case Tomogram():
                tomogram = value
            case Particles():
                particles[run.node] = value
            case Average():
                average = value
    failure = next(((run.node, sentence(item.error) or "") for run, item in made if item.error), None)
    return SeriesReport(
        name=name,
        series=series,
        tomogram=tomogram,
        particles=particles,
        average=average,
        results=tuple(_step_result(run, item) for run, item in made),
        warnings=tuple((run.node, text) for run, item in made for text in item.warnings),
        failure=failure,
        files={
            f"{run.node}: {file.role}": project.folder / file.path
            for run, item in made
            for file in _with_files(project.database, item).files
        },
        seconds={run.node: item.seconds for run, item in made},
    )


def _step_result(run: RunRecord, item: ItemRecord) -> StepResult:
    step = find_step(run.step)
    return step_result(
        run.node,
        step.figures,
        step.records,
        figures=item.figures,
        not_measurable=item.not_measurable,
        records=item.records,
    )


def _with_files(database: Database, item: ItemRecord) -> ItemRecord:
    """The item, with the files of the original item if it is reused."""
    if item.reused_from is None:
        return item
    return replace(item, files=database.item(item.reused_from).files)
