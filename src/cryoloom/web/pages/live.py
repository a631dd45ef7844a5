"""A session as it is acquired: strip of series, values through time with limits, alerts; and the report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from cryoloom.engine.live.watch_status import series_being_watched
from cryoloom.errors import UserInputError
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import page, project_of

__all__ = ["live_facts", "router"]

router = APIRouter(prefix="/p/{project}")
# figure, title, unit, scale, limit beyond which it is flagged (None: from the session itself)
PLOTS = (
    ("defocus_median_angstrom", "defocus", "µm", 1e-4),
    ("fit_resolution_median_angstrom", "CTF fit", "Å", 1.0),
    ("motion_median_angstrom", "motion", "Å", 1.0),
    ("tilt_axis_deg", "tilt axis", "°", 1.0),
    ("residual_mean_angstrom", "residual", "Å", 1.0),
    ("thickness_angstrom", "thickness", "nm", 0.1),
)
_MOST_POINTS = 2000
_N_STRIP = 40
_WINDOW = 5


def live_facts(project: ProjectView) -> dict[str, Any]:
    """Strip, plots and alerts, newest series last."""
    history = project.history()
    current = project.current_runs()
    n_steps = max(len(current), 1)
    points: list[dict[str, Any]] = []
    for name, made in history.items():
        times = [item.started for _, item in made if item.started is not None]
        failed = next((run.node for run, item in made if item.state == "failed"), None)
        figures = {key: value for _, item in made for key, value in item.figures.items()}
        points.append(
            {
                "series": name,
                "when": times[0].timestamp() if times else 0.0,
                "done": sum(item.state == "done" for _, item in made) / n_steps,
                "step": made[-1][0].node,
                "failed": failed,
                "figures": [
                    None if key not in figures else round(float(figures[key]) * scale, 4)
                    for key, _, _, scale in PLOTS
                ],
            }
        )
    points.sort(key=lambda one: one["when"])
    watched = [
        {
            "series": one.name,
            "state": one.state,
            "n_whole": one.n_whole,
            "n_told": one.n_told,
            "note": one.note,
        }
        for one in series_being_watched(project.folder)
        if one.state == "open"
    ]
    every = -(-len(points) // _MOST_POINTS) if points else 1
    ended = [run.ended for run in current if run.ended is not None]
    return {
        "is_running": any(run.state == "running" for run in current),
        "last_change": max(ended).isoformat() if ended else None,
        "now": datetime.now(UTC).isoformat(),
        "watched": watched,
        "strip": points[-_N_STRIP:],
        "plots": [
            {
                "key": key,
                "title": title,
                "unit": unit,
                "values": [one["figures"][i] for one in points[::every]],
            }
            for i, (key, title, unit, _) in enumerate(PLOTS)
        ],
        "names": [one["series"] for one in points[::every]],
        "when": [one["when"] for one in points[::every]],
        "n_series": len(points),
        "n_failed": sum(one["failed"] is not None for one in points),
        "per_hour": _per_hour(points),
    }


def _per_hour(points: list[dict[str, Any]]) -> float | None:
    """Series begun in an hour, from the last few."""
    last = [one["when"] for one in points if one["when"]][-_WINDOW * 2 :]
    if len(last) < 2 or last[-1] <= last[0]:
        return None
    return round(3600 * (len(last) - 1) / (last[-1] - last[0]), 1)


@router.get("/live")
def live_page(request: Request) -> Response:
    """The page, for the screen beside the microscope too."""
    project = project_of(request)
    return page(request, "live", name="live", project=project, data=live_facts(project))


@router.get("/live.json")
def live_json(request: Request) -> Response:
    """The same as data."""
    return JSONResponse(live_facts(project_of(request)), headers={"cache-control": "no-store"})


@router.get("/report")
def report(request: Request) -> Response:
    """The report: a page of its own, made by the command; how to get it where it is not there."""
    project = project_of(request)
    if not (project.folder / "report.html").is_file():
        return page(
            request,
            "empty",
            name="report",
            project=project,
            title="No report is here yet",
            text="It is written when a run ends, and by `cryoloom report --project DIR`.",
            link="",
            link_text="",
        )
    return page(request, "report", name="report", project=project)


@router.get("/report.html")
def report_file(request: Request) -> Response:
    """The report itself. It brings its own scripts, so it runs in a sandbox that reaches nothing of ours."""
    path = project_of(request).folder / "report.html"
    if not path.is_file():
        raise UserInputError("there is no report")
    policy = (
        "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; "
        "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; frame-ancestors 'self'"
    )
    headers = {"content-security-policy": policy, "cache-control": "no-cache"}
    return FileResponse(path, media_type="text/html", headers=headers)
