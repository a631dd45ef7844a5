"""The functions of every page as commands and in Python; each page lists its own (the key ``>``).

Words in capitals such as STEP, RUN and SERIES are placeholders. The project is filled in, and also the series
and the run if the page shows one.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COMMANDS", "PageCommand", "commands_of"]


@dataclass(frozen=True, slots=True)
class PageCommand:
    """One function of a page."""

    does: str
    text: str
    """A shell command, or lines of Python after those of `PYTHON`."""
    routes: tuple[str, ...] = ()
    """Addresses below the project to which the page writes."""
    is_python: bool = False


PYTHON = (
    "import cryoloom\n"
    "from cryoloom.store.decisions import Change, in_force\n"
    "project = cryoloom.Project.open({folder})"
)
"""First lines of every text in Python."""


def _python(does: str, text: str, *routes: str) -> PageCommand:
    return PageCommand(does, text, routes, is_python=True)


_ALWAYS = (
    PageCommand("Undo your last decision", "cryoloom undo --project {project}", ("/undo",)),
    PageCommand(
        "Take an undo back: undo it by its number", "cryoloom undo NUMBER --project {project}", ("/redo",)
    ),
    PageCommand(
        "All decisions: who, when, from where and why", "cryoloom decisions --project {project}", ("/decide",)
    ),
)
_TILTS = (
    PageCommand(
        "Leave tilts out", "cryoloom exclude {series} 3,7-9 --project {project} --reason dark", ("/decide",)
    ),
    PageCommand("Keep tilts", "cryoloom include {series} 3,7-9 --project {project}", ("/decide",)),
)
_SERIES = (
    PageCommand("Leave a series out", "cryoloom exclude {series} --project {project}", ("/decide",)),
    PageCommand("Keep a series", "cryoloom include {series} --project {project}", ("/decide",)),
    PageCommand("Note on a series", "cryoloom comment {series} 'TEXT' --project {project}", ("/decide",)),
)
_RESUME = PageCommand("Recompute outdated results", "cryoloom resume --project {project}", ("/resume",))
_STOP = PageCommand("Stop what runs; finished results stay", "cryoloom stop --project {project}", ("/stop",))
_EXPORT = PageCommand(
    "Export results (relion5, imod, warp, aretomo, ...)",
    "cryoloom export --project {project} --format relion5 --to FOLDER",
    ("/export",),
)
_RUNS = (
    PageCommand("Note on a run", "cryoloom comment {run} 'TEXT' --project {project}", ("/decide",)),
    PageCommand(
        "Delete a run and its files", "cryoloom delete {run} --project {project}", ("/run/{run_id}",)
    ),
    PageCommand("Log and history", "cryoloom log --project {project}"),
)
_SCORES = PageCommand(
    "Keep particles of at least a score",
    "cryoloom run STEP --project {project} --input RUN --set min_score=0.3",
    ("/particles/cut",),
)

COMMANDS: dict[str, tuple[PageCommand, ...]] = {
    "graph": (
        PageCommand("State of every series", "cryoloom status --project {project}"),
        PageCommand("Start a step", "cryoloom run STEP --project {project} --input RUN", ("/start",)),
        _RESUME,
        _STOP,
        _EXPORT,
        PageCommand(
            "Save all that was done as a workflow",
            "cryoloom workflow export --project {project} --to workflow.yaml",
        ),
        *_RUNS,
    ),
    "run": (
        PageCommand(
            "The same with other parameters",
            "cryoloom run STEP --project {project} --like {run} --set PARAMETER=VALUE",
            ("/start",),
        ),
        PageCommand("Compare with another run", "cryoloom compare {run} RUN --project {project}"),
        _RESUME,
        _STOP,
        *_RUNS,
    ),
    "new_run": (
        PageCommand("Start a step", "cryoloom run STEP --project {project} --input RUN", ("/start",)),
    ),
    "new_project": (
        PageCommand(
            "Make a project and process the raw data",
            "cryoloom process RAW --project FOLDER --workflow tomogram",
            ("/new-project",),
        ),
        PageCommand("Translate a workflow of Scipion", "cryoloom workflow import FILE --to workflow.yaml"),
    ),
    "series_table": (*_SERIES, PageCommand("The same table", "cryoloom status --project {project}")),
    "series": (*_TILTS, *_SERIES),
    "review": _TILTS,
    "ctf": (
        *_TILTS,
        PageCommand(
            "Fit the CTF of tilts again (refit_tilts), or reject their fits (predict_tilts)",
            "cryoloom run STEP --project {project} --like RUN --item {series} --set 'refit_tilts=[8]'",
            ("/ctf/{name}/fit",),
        ),
    ),
    "alignment": (
        _python(
            "Set the position of track 4 in tilt 2, in angstrom from the middle of the image",
            'project.decide([Change("track", {name}, "4/2", {{"x_angstrom": 10.0, "y_angstrom": -5.0}})])',
            "/decide",
        ),
        PageCommand(
            "Align with corrected tracks: a folder of IMOD models, one a series",
            "cryoloom run STEP --project {project} --like RUN --item {series} --set fiducials=FOLDER",
            ("/align/{name}/accept",),
        ),
        PageCommand(
            "Correct them in 3dmod and take them back",
            "cryoloom imod {series} --project {project} --input RUN",
        ),
    ),
    "tomogram": (
        _python(
            "A pick of a set, xyz in angstrom from the middle of the tomogram",
            'project.decide([Change("pick", {name}, "SET/1", [120.0, -40.0, 10.0])])',
            "/decide",
        ),
        _python("All picks", 'in_force(project.decisions(), kind="pick", item={name})'),
        _python(
            "A sphere of a set, by its middle and a point on it",
            'sphere = {{"shape": "sphere", "spacing_angstrom": 100.0, "inwards": False,\n'
            '    "points": [[0.0, 0.0, 0.0], [300.0, 0.0, 0.0]]}}\n'
            'project.decide([Change("model", {name}, "SET/1", sphere)])',
            "/decide",
        ),
        PageCommand(
            "Make particles of picks in files (the page's table is one)",
            "cryoloom run STEP --project {project} --input RUN --set 'file=picks/{{tomogram}}.csv'",
            ("/picks/use",),
        ),
        PageCommand(
            "Reconstruct a series with another thickness",
            "cryoloom run STEP --project {project} --like RUN --item {series} --set thickness_angstrom=1500",
            ("/slabs/use",),
        ),
        _python(
            "The slab by hand, in angstrom",
            'slab = {{"thickness_angstrom": 1200.0, "z_offset_angstrom": 30.0,\n'
            '    "tilt_x_deg": 0.0, "tilt_y_deg": 0.0, "run": None}}\n'
            'project.decide([Change("slab", {name}, "", slab)])',
            "/decide",
        ),
    ),
    "particles": (
        _SCORES,
        PageCommand(
            "Average them as the page does, step by step",
            "cryoloom run STEP --project {project} --input RUN --set symmetry=C6",
            ("/particles/average",),
        ),
    ),
    "average": (_EXPORT, PageCommand("Look at a map", "cryoloom view MAP.mrc")),
    "live": (
        PageCommand("Watch a folder", "cryoloom watch RAW --project {project}", ("/watch",)),
        _STOP,
        PageCommand(
            "Limit of a figure",
            "cryoloom alerts --project {project} --limit motion_median_angstrom=:8",
            ("/alerts/limits",),
        ),
        PageCommand(
            "No alerts of a figure",
            "cryoloom alerts --project {project} --mute tilt_axis_deg",
            ("/alerts/mute",),
        ),
        PageCommand(
            "Send alerts to a program", "cryoloom alerts --project {project} --to-command 'PROGRAM ARGUMENT'"
        ),
    ),
    "report": (PageCommand("Write the report again", "cryoloom report --project {project}", ("/report",)),),
    "view": (PageCommand("Look at files without a project", "cryoloom view FILE FILE"),),
}
"""Functions by the template of the page."""


def commands_of(
    template: str, project: Path | None = None, series: str = "SERIES", run: int | None = None
) -> list[tuple[str, str]]:
    """Functions of a page with their commands, filled in for the shown series and run."""
    words = {
        "project": "PROJECT" if project is None else shlex.quote(str(project)),
        "folder": json.dumps(str(project)),
        "series": series if series == "SERIES" else shlex.quote(series),
        "name": json.dumps(series),
        "run": "RUN" if run is None else str(run),
    }
    listed = (*COMMANDS.get(template, ()), *(() if project is None else _ALWAYS))
    return [
        (one.does, (f"{PYTHON}\n{one.text}" if one.is_python else one.text).format(**words)) for one in listed
    ]
