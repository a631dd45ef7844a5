"""All series of a project as a table: progress, flags and figures."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from cryoloom.contract.discovery import figure_meaning, figure_names
from cryoloom.contract.figures import FigureRole
from cryoloom.engine.history.results import sentence
from cryoloom.store.decisions import in_force
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.web.in_thread import InThread
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.site import page, project_of, site_of

__all__ = ["router", "table_columns", "table_rows"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)

_FIRST_COLUMNS = (
    ("series", "series", "link", "Name of the tilt series; its page shows every tilt."),
    (
        "state",
        "state",
        "state",
        "done, running, failed, left out, or outdated: made before something was decided.",
    ),
    ("step", "last step", "text", "The step that worked on it last."),
    ("tilts", "tilts", "number", "Tilts of the series."),
    ("out", "left out", "number", "Tilts left out by a step or a user."),
    ("open", "flagged", "number", "Tilts that the program doubts and nobody has decided on."),
)
"""Key, heading, kind, meaning."""
_FIGURES: tuple[tuple[FigureRole, str, float, int], ...] = (
    ("defocus", "defocus, µm", 1e-4, 2),
    ("ctf_resolution", "CTF fit, Å", 1.0, 1),
    ("motion", "motion, Å", 1.0, 1),
    ("alignment_residual", "residual, Å", 1.0, 1),
    ("tilt_axis", "axis, °", 1.0, 1),
)
"""Role, heading, factor to the shown unit, decimals; the meaning of each is declared by its step."""
_LAST_COLUMN = ("note", "note", "text", "First error, reason, or your comment.")


def table_columns() -> tuple[tuple[str, str, str, str], ...]:
    """Key, heading, kind and meaning of every column."""
    figures = tuple((role, heading, "number", figure_meaning(role)) for role, heading, _, _ in _FIGURES)
    return (*_FIRST_COLUMNS, *figures, _LAST_COLUMN)


def table_rows(project: ProjectView, index: ReviewIndex) -> tuple[list[list[Any]], int]:
    """Rows in the order of `table_columns`, and the number of rows whose tilts are not read yet."""
    known = index.known()
    decided = {one.item: one for one in in_force(project.decisions(), kind="series")}
    comments = {
        one.item: str(one.value) for one in in_force(project.decisions(), kind="comment") if not one.target
    }
    outdated = project.outdated()
    rows, n_waiting = [], 0
    for name, made in project.history().items():
        run, item = made[-1]
        judged = known.get(name)
        n_waiting += judged is None
        failed = next(((r, i) for r, i in made if i.state == "failed"), None)
        is_out = name in decided and not decided[name].value["keep"]
        note = comments.get(name, "")
        if failed is not None:
            note = f"{failed[0].node}: {sentence(failed[1].error)}"
        elif is_out:
            note = decided[name].why or "left out by hand"
        elif item.reason:
            note = item.reason
        elif name in outdated and not note:
            note = outdated[name]
        figures = _figures(made)
        rows.append(
            [
                name,
                "excluded" if is_out else _state(run, item, failed is not None, name in outdated),
                run.node,
                judged.n_tilts if judged is not None else None,
                judged.n_excluded if judged is not None else None,
                judged.n_open if judged is not None else None,
                *(figures.get(role) for role, *_ in _FIGURES),
                note,
            ]
        )
    return rows, n_waiting


def _state(run: RunRecord, item: ItemRecord, failed: bool, outdated: bool) -> str:
    if failed:
        return "failed"
    if outdated and run.state != "running":
        return "outdated"
    if item.state == "left_out":
        return "excluded"
    return "running" if run.state == "running" else "done"


def _figures(made: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    for _, item in made:
        for role, _, scale, digits in _FIGURES:
            for name in figure_names(role) & item.figures.keys():
                found[role] = round(float(item.figures[name]) * scale, digits)
    return found


@router.get("/series")
def table_page(request: Request) -> Response:
    """The page; its rows are fetched by its script."""
    project = project_of(request)
    data = {"columns": [list(column) for column in table_columns()]}
    return page(request, "series_table", name="series", project=project, data=data)


@router.get("/gallery.json")
def gallery_json(request: Request) -> Response:
    """Address of the picture of every read series: its least tilted used image."""
    project = project_of(request)
    pictures = {}
    for name, one in site_of(request).review(project).known().items():
        if one.role and one.picture_section is not None:
            address = f"/p/{project.slug}/image/{one.item}/{one.role}/thumb.jpg"
            pictures[name] = f"{address}?i={one.picture_section}&s=180"
    return JSONResponse({"pictures": pictures}, headers={"cache-control": "no-store"})


@router.get("/series.json")
def table_json(request: Request) -> Response:
    """Rows of the table."""
    project = project_of(request)
    rows, n_waiting = table_rows(project, site_of(request).review(project))
    return JSONResponse({"rows": rows, "n_waiting": n_waiting}, headers={"cache-control": "no-store"})
