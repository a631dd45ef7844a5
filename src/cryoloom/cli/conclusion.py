"""Start and end of commands that do work: open the project, show progress, print results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    project: Project, summary: Summary, json: bool, again: str = "", made_by: Sequence[RunRecord] = ()
) -> None:
    """Write the report, print where the results are, and fail if an item failed.

    made_by : runs whose folders are printed; for a workflow the final tomograms are printed instead.
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
    if summary.failed or summary.stopped:
        raise typer.Exit(1)


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
