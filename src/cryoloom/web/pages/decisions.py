"""Decisions, undo, redo, and the stream of events, which every page of a project uses."""

from __future__ import annotations

import getpass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from cryoloom.store.decisions import Author, Decision
from cryoloom.web.decide import DecisionRequest, decide, decision_text
from cryoloom.web.events import MOST_STREAMS
from cryoloom.web.in_thread import InThread
from cryoloom.web.site import project_of, site_of

__all__ = ["decision_facts", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)


@router.post("/decide")
def post_decision(request: Request, wanted: DecisionRequest) -> dict[str, Any]:
    """Record decisions; the answer has their events."""
    made = decide(project_of(request), wanted, getpass.getuser(), request.state.role)
    return {"decisions": [decision_facts(one) for one in made]}


@router.post("/undo")
def post_undo(request: Request) -> dict[str, Any]:
    """Undo the last decision of this user."""
    return _taken_back(project_of(request).undo(_author(request)))


@router.post("/redo")
def post_redo(request: Request) -> dict[str, Any]:
    """Redo the last undone decision of this user."""
    return _taken_back(project_of(request).redo(_author(request)))


@router.get("/decisions.json")
def get_decisions(request: Request) -> list[dict[str, Any]]:
    """All decisions, newest first."""
    return [decision_facts(one) for one in reversed(project_of(request).decisions())]


@router.get("/events")
async def events(request: Request) -> Response:
    """Server-sent events for changes of the project."""
    watcher = site_of(request).watcher(project_of(request))
    if watcher.n_listeners >= MOST_STREAMS:
        return JSONResponse({"error": f"{MOST_STREAMS} pages are open already; close one"}, 503)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(watcher.stream(), media_type="text/event-stream", headers=headers)


def decision_facts(decision: Decision) -> dict[str, Any]:
    """A decision as data for the browser."""
    return {
        "id": decision.id,
        "kind": decision.kind,
        "item": decision.item,
        "target": decision.target,
        "value": decision.value,
        "text": decision_text(decision),
        "who": decision.who,
        "page": decision.page,
        "when": f"{decision.when:%Y-%m-%d %H:%M} UTC",
        "is_undone": decision.is_undone,
    }


def _taken_back(events_: tuple[Decision, ...]) -> dict[str, Any]:
    first = events_[0]
    more = f" and {len(events_) - 1} more" if len(events_) > 1 else ""
    return {"text": decision_text(first) + more, "decisions": [decision_facts(one) for one in events_]}


def _author(request: Request) -> Author:
    return Author(getpass.getuser(), request.state.role, "web")
