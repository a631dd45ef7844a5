"""A session during acquisition: strip of series, values over time with limits, alerts, and the report."""

from __future__ import annotations

import getpass
import shlex
import threading
import time
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.engine.live.alert_settings import (
    AlertSettings,
    Limit,
    alert_settings,
    changed_settings,
    keep_alert_settings,
)
from cryoloom.engine.live.alerts import AlertLog, alert_log, alerts_of, limit_of
from cryoloom.engine.live.session_points import (
    FOLLOWED,
    Followed,
    SeriesPoint,
    followed,
    seconds_to_go,
    session_points,
)
from cryoloom.engine.live.watch_status import arrivals_of, last_news, series_being_watched
from cryoloom.errors import UserInputError
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import start_job
from cryoloom.web.pages.runs import job_facts
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import page, project_of, site_of

__all__ = ["live_facts", "router", "series_per_hour"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
_settings_lock = threading.Lock()
_MOST_POINTS = 2000
_N_STRIP = 40
_N_SAID = 20
_WINDOW = 5
"""Chosen for viewing: points of a plot, series in the strip, messages, and series from which the current rate
is computed."""


def live_facts(project: ProjectView) -> dict[str, Any]:
    """Strip, plots, limits and alerts, newest series last; values are in the shown unit."""
    current = project.current_runs()
    n_steps = max(len(current), 1)
    points = session_points(project.history())
    settings = alert_settings(project.folder)
    log = alert_log(project.folder)
    every = -(-len(points) // _MOST_POINTS) if points else 1
    thinned = points[::every]
    ended = [run.ended for run in current if run.ended is not None]
    arrivals, now = arrivals_of(project.folder), datetime.now(UTC)
    return {
        "is_running": any(run.state == "running" for run in current),
        "last_change": max(ended).isoformat() if ended else None,
        "now": now.isoformat(),
        "last_file": arrivals.last(),
        "bytes_per_second": arrivals.bytes_per_second(now.timestamp()),
        "seconds_to_go": seconds_to_go(points, n_steps),
        "watched": [
            {
                "series": one.name,
                "state": one.state,
                "n_whole": one.n_whole,
                "n_told": one.n_in_metadata,
                "note": one.note,
            }
            for one in series_being_watched(project.folder)
            if one.state == "open"
        ],
        "strip": [
            {
                "series": one.name,
                "done": one.n_done / n_steps,
                "step": one.node,
                "failed": one.failed_in,
            }
            for one in points[-_N_STRIP:]
        ],
        "latest": _latest_tomogram(project),
        "plots": [_plot(one, points, thinned, settings) for one in FOLLOWED],
        "names": [one.name for one in thinned],
        "when": [one.when for one in thinned],
        "n_series": len(points),
        "n_failed": sum(one.failed_in is not None for one in points),
        "per_hour": series_per_hour(points),
        "alerts": [
            {"subject": one.subject, "text": one.text, "is_muted": one.subject in settings.muted}
            for one in alerts_of(points, settings.model_copy(update={"muted": ()}), _quiet(project))
        ],
        "said": [{"when": one.when, "text": one.text} for one in reversed(log.said[-_N_SAID:])],
        "channels": _channels(settings, log),
        "rule": [settings.at_least, settings.of_last],
        "command": _command_of(settings),
    }


def _latest_tomogram(project: ProjectView) -> dict[str, str] | None:
    """Series, page and picture of the latest tomogram; None if there is none."""
    found = [
        (item.id or 0, name)
        for name, made in project.history().items()
        for run, item in made
        if item.state == "done" and project.kind_of(run, item) == "Tomogram"
    ]
    if not found:
        return None
    item, name = max(found)
    base = f"/p/{project.slug}"
    return {
        "series": name,
        "page": f"{base}/tomo/{quote(name, safe='')}",
        "picture": f"{base}/image/{item}/volume/thumb.jpg?s=360",
    }


def _plot(
    one: Followed, points: list[SeriesPoint], thinned: list[SeriesPoint], settings: AlertSettings
) -> dict[str, Any]:
    limit = limit_of(one.figure, points, settings)
    values = [point.figures.get(one.figure) for point in thinned]
    return {
        "key": one.figure,
        "title": one.title,
        "unit": one.unit,
        "values": [None if value is None else _shown(value, one) for value in values],
        "limits": None if limit is None else [_shown(limit.low, one), _shown(limit.high, one)],
        "is_set": one.figure in settings.limits,
    }


def _shown(value: float | None, one: Followed) -> float | None:
    return None if value is None else round(float(value) * one.scale, 4)


def _quiet(project: ProjectView) -> float | None:
    news = last_news(project.folder)
    return None if news is None else (time.time() - news) / 60


def _channels(settings: AlertSettings, log: AlertLog) -> list[dict[str, str]]:
    """Targets of alerts, without secrets, and deliveries that failed."""
    names = {
        "file": str(settings.file),
        "command": settings.command[0] if settings.command else "",
        "web hook": urlsplit(settings.web_hook or "").hostname or "",
    }
    late = {one.channel: f"{one.error}; tried again" for one in reversed(log.outbox) if one.error}
    return [
        {"kind": channel, "name": names[channel], "problem": late.get(channel, "")}
        for channel in settings.channels
    ]


#: Chosen: series found at the same time would give a rate of a thousand per hour.
_LEAST_SERIES, _LEAST_SPAN_S = 3, 300.0


def _command_of(settings: AlertSettings) -> str:
    """Command line that sets the current limits."""
    words = ["cryoloom", "alerts", "--project", "."]
    for figure, limit in settings.limits.items():
        low, high = ("" if bound is None else f"{bound:g}" for bound in (limit.low, limit.high))
        words += ["--limit", f"{figure}={low}:{high}"]
    for subject in settings.muted:
        words += ["--mute", subject]
    return shlex.join(words)


def series_per_hour(points: list[SeriesPoint]) -> float | None:
    """Series per hour, from the last few; None if there are too few or all came at the same time."""
    last = [one.when for one in points if one.when][-_WINDOW * 2 :]
    if len(last) < _LEAST_SERIES or last[-1] - last[0] < _LEAST_SPAN_S:
        return None
    return round(3600 * (len(last) - 1) / (last[-1] - last[0]), 1)


@router.get("/live")
def live_page(request: Request) -> Response:
    """The page; also for the screen beside the microscope."""
    project = project_of(request)
    roots = site_of(request).root_names()
    return page(request, "live", name="live", project=project, roots=roots, data=live_facts(project))


@router.get("/live.json")
def live_json(request: Request) -> Response:
    """The same as data."""
    return JSONResponse(live_facts(project_of(request)), headers={"cache-control": "no-store"})


class LimitRequest(BaseModel):
    """Limits of a figure set by dragging, in the shown unit; None for both: the automatic limits."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    figure: str = Field(max_length=60)
    low: Annotated[float, Field(allow_inf_nan=False)] | None = None
    high: Annotated[float, Field(allow_inf_nan=False)] | None = None


class MuteRequest(BaseModel):
    """Mute or unmute the alerts of a subject."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    subject: str = Field(pattern=r"^[a-z_0-9]{1,60}$")
    mute: bool


@router.post("/alerts/limits")
def set_limits(request: Request, wanted: LimitRequest) -> dict[str, Any]:
    """Store the limits of a figure for the page and for alerts."""
    project = project_of(request)
    one = followed(wanted.figure)
    if one is None:
        raise UserInputError(f"{wanted.figure!r} is not followed through a session")
    with _settings_lock:
        settings = alert_settings(project.folder)
        limits = {name: limit for name, limit in settings.limits.items() if name != one.figure}
        low, high = (None if v is None else v / one.scale for v in (wanted.low, wanted.high))
        if low is not None or high is not None:
            limits[one.figure] = Limit.model_construct(low=low, high=high)  # checked together with all limits
        kept = {name: limit.model_dump() for name, limit in limits.items()}
        keep_alert_settings(project.folder, changed_settings(settings, limits=kept))
    return live_facts(project)


@router.post("/alerts/mute")
def mute(request: Request, wanted: MuteRequest) -> dict[str, Any]:
    """Mute or unmute a subject."""
    project = project_of(request)
    with _settings_lock:
        settings = alert_settings(project.folder)
        muted = tuple(name for name in settings.muted if name != wanted.subject)
        muted += (wanted.subject,) if wanted.mute else ()
        keep_alert_settings(project.folder, changed_settings(settings, muted=muted))
    return live_facts(project)


class WatchRequest(BaseModel):
    """Process a growing folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    raw: str = Field(min_length=1, max_length=4000)
    tilts: int | None = Field(None, ge=1, le=1000)
    """Number of tilts of a series; a series with all tilts is closed immediately."""


@router.post("/watch")
def watch(request: Request, wanted: WatchRequest) -> dict[str, Any]:
    """Start `cryoloom watch` on a folder below the roots; it continues without server and browser."""
    project = project_of(request)
    raw = site_of(request).roots.checked(wanted.raw)
    command = ["watch", str(raw), "--project", "."]
    if wanted.tilts is not None:
        command += ["--tilts", str(wanted.tilts)]
    return job_facts(start_job(project.folder, f"watch {raw.name}", command, getpass.getuser()))


@router.get("/report")
def report(request: Request) -> Response:
    """Page with the report, which is made by the command or by the button."""
    project = project_of(request)
    path = project.folder / "report.html"
    made = ""
    if path.is_file():
        made = datetime.fromtimestamp(path.stat().st_mtime, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    return page(request, "report", name="report", project=project, made=made)


@router.post("/report")
def write_report(request: Request) -> dict[str, Any]:
    """Make a report of the current state, in a separate process."""
    project = project_of(request)
    return job_facts(start_job(project.folder, "report", ["report", "--project", "."], getpass.getuser()))


@router.get("/report.html")
def report_file(request: Request) -> Response:
    """The report. It has its own scripts, so it runs in a sandbox without access to this application."""
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
