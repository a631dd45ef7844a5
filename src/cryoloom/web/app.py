"""The application: all addresses, error messages, and the guard around them."""

from __future__ import annotations

import sqlite3
from importlib import resources
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cryoloom.contract.discovery import read_sources
from cryoloom.errors import CryoloomError, DataUnfitError, TransientError
from cryoloom.web.access import Access
from cryoloom.web.guard import Guard
from cryoloom.web.pages import (
    alignment,
    averages,
    ctf,
    decisions,
    graph,
    image_routes,
    live,
    new_project,
    other_programs,
    particles,
    picks,
    review,
    runs,
    series,
    series_table,
    start,
    tomogram,
)
from cryoloom.web.site import Site, page, site_of

__all__ = ["make_app"]

_ROUTERS = (
    start.router,
    new_project.router,
    image_routes.router,
    decisions.router,
    series_table.router,
    series.router,
    review.router,
    graph.router,
    runs.router,
    ctf.router,
    tomogram.router,
    picks.router,
    particles.router,
    other_programs.router,
    alignment.router,
    averages.router,
    live.router,
)


def make_app(site: Site, access: Access) -> ASGIApp:
    """The web application of a site, behind its guard."""
    if site.projects:
        read_sources()  # here, so that the first pages do not wait for it
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.state.site = site
    for router in _ROUTERS:
        # Included routers are resolved at the first request to each, up to 50 ms on the event loop.
        app.router.routes.extend(router.routes)
    static = Path(str(resources.files("cryoloom.web").joinpath("static")))
    app.mount("/static", StaticFiles(directory=static, follow_symlink=False))
    app.add_exception_handler(CryoloomError, _say_error)
    app.add_exception_handler(sqlite3.Error, _say_disk_error)
    app.add_exception_handler(OSError, _say_disk_error)
    app.add_exception_handler(HTTPException, _say_http_error)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    return Guard(app, access)


def _say_error(request: Request, error: Exception) -> Response:
    """Answer with the message of an expected error."""
    status = 503 if isinstance(error, TransientError) else 422 if isinstance(error, DataUnfitError) else 404
    if request.method not in {"GET", "HEAD"} and status == 404:
        status = 422
    return _answer(request, str(error), status)


def _say_disk_error(request: Request, error: Exception) -> Response:
    """Answer for a disk that is unavailable or full."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return _answer(request, f"The disk of this project does not answer: {reason}. Try again.", 503)


def _say_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "There is no such page.", 405: "This address cannot be used that way."}
    return _answer(request, text.get(status, "The request was refused."), status)


def _say_invalid(request: Request, error: Exception) -> Response:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    text = "; ".join(f"{'.'.join(str(part) for part in p['loc'][1:])}: {p['msg']}" for p in problems)
    return _answer(request, f"The request cannot be right: {text}", 422)


def _answer(request: Request, text: str, status: int) -> Response:
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": text}, status)
    project = site_of(request).projects.get(request.path_params.get("project", ""))
    return page(request, "error", project=project, status_code=status, message=text)
