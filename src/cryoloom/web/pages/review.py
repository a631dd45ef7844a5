"""Flagged tilts of all series, worst first: one key decides and shows the next one."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from cryoloom.web.in_thread import InThread
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import ReviewIndex, open_tilts
from cryoloom.web.site import page, project_of, site_of
from cryoloom.web.tilt_flags import REASONS, tilt_facts

__all__ = ["review_facts", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
_MOST = 2000
"""Chosen: tilts of one page, worst first."""


def review_facts(project: ProjectView, index: ReviewIndex) -> dict[str, Any]:
    """Flagged tilts, and how much of the project has been read."""
    known = index.complete(timeout_s=2.0)
    doubted = open_tilts(list(known.values()))
    return {
        "tilts": [
            {
                "series": one.name,
                "base": f"/p/{project.slug}/image/{one.item}/{one.role}" if one.role else None,
                **tilt_facts(tilt),
            }
            for one, tilt in doubted[:_MOST]
        ],
        "n_flagged": len(doubted),
        "n_open": sum(tilt.is_open for _, tilt in doubted),
        "n_series": len(known),
        "n_waiting": len(project.series_names()) - len(known),
        "reasons": REASONS,
    }


@router.get("/review")
def review_page(request: Request) -> Response:
    """The page."""
    project = project_of(request)
    return page(
        request,
        "review",
        name="review",
        project=project,
        data=review_facts(project, site_of(request).review(project)),
    )


@router.get("/review.json")
def review_json(request: Request) -> Response:
    """The same as data."""
    project = project_of(request)
    facts = review_facts(project, site_of(request).review(project))
    return JSONResponse(facts, headers={"cache-control": "no-store"})
