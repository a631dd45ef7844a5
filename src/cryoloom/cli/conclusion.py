"""Start and end of commands that do work: open the project, show progress, print results."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from cryoloom.cli.amounts import size_text
from cryoloom.cli.progress import BarListener, JsonListener
from cryoloom.cli.terminal import console, say
from cryoloom.engine.coordinator.scheduler import Summary
from cryoloom.engine.project import Project
from cryoloom.engine.reporting import report_path, write_project_report
from cryoloom.errors import UserInputError
from cryoloom.store.names import FILE_NAME
from cryoloom.store.records import RunRecord

__all__ = ["conclude", "listener_for", "opened_or_made"]


def listener_for(json: bool) -> BarListener | JsonListener:
    """Bars for people, lines of JSON for scripts."""
    return JsonListener(console) if json else BarListener(console)


@contextmanager
def opened_or_made(folder: Path, *, may_make: bool = True) -> Iterator[Project]:
    """The project in a folder, created if there is none; a wrong request leaves no empty project."""
    is_new, had_folder = not (folder / FILE_NAME).exists(), folder.exists()
    project = Project.open(folder, create=may_make)
    try:
        yield project
    except UserInputError:
        if is_new and not project.database.count_states():
            project.database.close()
            for entry in project.folder.iterdir():
                if entry.is_file():
                    entry.unlink()
            if not had_folder:
                project.folder.rmdir()
        raise


def conclude(
    project: Project,
    summary: Summary,
    json: bool,
    again: str = "",
    made_by: Sequence[RunRecord] = (),
    of_series: Collection[str] = (),
) -> None:
    """Write the report, print where the results are, and fail if an item failed or a series is unknown.

    made_by : runs whose folders are printed; for a workflow the final tomograms are printed instead.
    of_series : names of series that were given parameters of their own.
    """
    write_project_report(project)
    policy = project.disk_policy()
    if not summary.stopped and (policy.keep != "everything" or policy.keep_by_node):
        removed = sum(one.bytes for one in project.clean(policy.keep, policy.keep_by_node))
        if removed and not json:
            say(f"removed:  {size_text(removed)} of files that can be made again (--keep {policy.keep})")
    if not json:
        again = again or f"`cryoloom resume --project {_typed(project.folder)}`"
        for run in made_by:
            say(f"results:  {project.folder / run.folder} (run {run.id})")
        for path in () if made_by else _tomograms(project):
            say(f"tomogram: {path}")
        say(f"report:   {report_path(project)}")
        if summary.stopped:
            say(f"stopped; continue with {again}")
        elif summary.failed:
            say(f"{len(summary.failed)} failed, {summary.n_done} done; fix the cause, then {again}")
    if not summary.stopped:
        _refuse_unknown(of_series, project)
    if summary.failed or summary.stopped:
        raise typer.Exit(1)


def _refuse_unknown(of_series: Collection[str], project: Project) -> None:
    """Raises UserInputError if parameters were given for a series that the project does not have."""
    known = sorted(project.state().series)
    unknown = sorted(set(of_series) - set(known))
    if not unknown:
        return
    near = {close for name in unknown for close in difflib.get_close_matches(name, known, n=3)}
    has = f"did you mean {', '.join(sorted(near))}?" if near else f"it has {', '.join(known[:10])}"
    raise UserInputError(
        f"parameters were set for {', '.join(unknown)}, but the project has no such series; {has}"
    )


def _typed(folder: Path) -> str:
    """The folder as short as it can be typed here."""
    here = Path.cwd()
    return str(folder.relative_to(here)) if folder.is_relative_to(here) else str(folder)


def _tomograms(project: Project) -> list[str]:
    """Files of the current tomograms."""
    current = {(one.result.run_id, one.name) for one in project.state().series.values() if one.result}
    return [
        result.files["tomogram"]
        for result in project.results()
        if (result.run, result.item) in current and "tomogram" in result.files
    ]
