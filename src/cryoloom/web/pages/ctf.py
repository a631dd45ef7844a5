"""CTF of all series as small plots, and of one series with its fits."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import JudgedSeries, ReviewIndex
from cryoloom.web.site import page, project_of, site_of
from cryoloom.web.tilt_flags import REASONS, judged_tilts_of, tilt_facts

__all__ = ["ctf_grid", "router"]

router = APIRouter(prefix="/p/{project}")


def ctf_grid(index: ReviewIndex) -> list[dict[str, Any]]:
    """Defocus over tilt of every series, the worst fit first."""
    grid = [_curve(one) for one in index.complete(timeout_s=2.0).values()]
    return sorted((one for one in grid if one["tilt_deg"]), key=lambda one: -one["worst"])


def _curve(one: JudgedSeries) -> dict[str, Any]:
    fitted = [tilt for tilt in one.tilts if tilt.row.defocus_u_angstrom is not None]
    doubts = [tilt.flag.severity for tilt in fitted if tilt.flag is not None and tilt.flag.reason == 5]
    return {
        "series": one.name,
        "tilt_deg": [round(tilt.row.tilt_deg, 1) for tilt in fitted],
        "defocus_um": [
            round(((tilt.row.defocus_u_angstrom or 0) + (tilt.row.defocus_v_angstrom or 0)) / 2e4, 3)
            for tilt in fitted
        ],
        "state": [
            "excluded" if not tilt.row.is_kept else "flagged" if tilt.flag and tilt.flag.reason == 5 else ""
            for tilt in fitted
        ],
        "worst": max(doubts, default=0.0),
    }


@router.get("/ctf")
def ctf_page(request: Request) -> Response:
    """The page; it opens on the series of the address, or on the worst."""
    project = project_of(request)
    grid = ctf_grid(site_of(request).review(project))
    if not grid:
        return page(
            request,
            "empty",
            name="ctf",
            project=project,
            title="No CTF is here yet",
            text="Run `estimate_ctf` on series with images, or import CTFs with `import_ctf`.",
            link=f"/p/{project.slug}/new?step=estimate_ctf",
            link_text="Estimate the CTF",
        )
    return page(request, "ctf", name="ctf", project=project, data={"grid": grid, "reasons": REASONS})


@router.get("/ctf/grid.json")
def grid_json(request: Request) -> Response:
    """The small plots as data."""
    project = project_of(request)
    return JSONResponse(ctf_grid(site_of(request).review(project)), headers={"cache-control": "no-store"})


@router.get("/ctf/{name}/facts.json")
def ctf_json(request: Request, name: str) -> dict[str, Any]:
    """Tilts of one series with their fits."""
    return ctf_facts(project_of(request), name)


def ctf_facts(project: ProjectView, name: str) -> dict[str, Any]:
    """Rows and fitted curves of one series."""
    view = project.series(name)
    curves = view.record("ctf_curves")
    hand = view.figure("handedness")
    run = next((run.id for run, _ in reversed(view.steps) if run.step == view.maker_of("ctf_curves")), None)
    return {
        "name": name,
        "rows": [tilt_facts(tilt) for tilt in judged_tilts_of(view)],
        "curves": {curve["acquisition_index"]: curve for curve in curves}
        if isinstance(curves, list | tuple)
        else {},
        "handedness": hand,
        "handedness_gain_nats": view.figure("handedness_gain_nats"),
        "run": run,
    }
