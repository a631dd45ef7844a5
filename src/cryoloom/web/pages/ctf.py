"""CTF of all series as small plots, and of one series with its fits."""

from __future__ import annotations

import getpass
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.contract.discovery import steps_taking
from cryoloom.errors import UserInputError
from cryoloom.store.decisions import Author
from cryoloom.web.drawn.drawn_parameters import CtfChoice, changes_for_ctf, ctf_choices
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import start_job
from cryoloom.web.judged_series import JudgedSeries
from cryoloom.web.pages.runs import job_facts
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.site import page, project_of, site_of
from cryoloom.web.tilt_flags import CTF_REASON, REASONS, judged_tilts_of, tilt_facts

__all__ = ["ctf_grid", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
Order = Literal["worst", "name"]
_MOST_CURVES = 240
"""Chosen: number of small plots on one page."""


def ctf_grid(index: ReviewIndex, order: Order = "worst", wanted: str = "") -> dict[str, Any]:
    """Defocus over tilt for the first series in an order, and the number of all series.

    wanted : part of their names, which finds the series that are not on the page. Thousands of curves are
    neither sent nor drawn.
    """
    known = index.complete(timeout_s=2.0)
    with_fits = [one for one in known.values() if len(one.fitted_tilt_deg)]
    worst = {one.name: _worst(one) for one in with_fits}
    found = [one for one in with_fits if wanted.lower() in one.name.lower()]
    found.sort(key=lambda one: (-worst[one.name] if order == "worst" else 0.0, _natural(one.name)))
    return {
        "n": len(with_fits),
        "n_doubtful": sum(value > 0 for value in worst.values()),
        "n_found": len(found),
        "n_waiting": index.n_series() - len(known),
        "curves": [_curve(one, worst[one.name]) for one in found[:_MOST_CURVES]],
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key with TS_9 before TS_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _worst(one: JudgedSeries) -> float:
    """Severity of the worst fit; 0 if none is flagged."""
    flags = [tilt.flag for tilt in one.doubted if tilt.row.defocus_u_angstrom is not None]
    return max(
        (flag.severity for flag in flags if flag is not None and flag.reason == CTF_REASON), default=0.0
    )


def _curve(one: JudgedSeries, worst: float) -> dict[str, Any]:
    return {
        "series": one.name,
        "tilt_deg": [round(float(angle), 1) for angle in one.fitted_tilt_deg],
        "defocus_um": [round(float(defocus) * 1e-4, 3) for defocus in one.fitted_defocus_angstrom],
        "state": one.fitted_marks,
        "worst": worst,
    }


@router.get("/ctf")
def ctf_page(request: Request) -> Response:
    """The page, with the series of the address or the worst series."""
    project = project_of(request)
    grid = ctf_grid(site_of(request).review(project))
    if not grid["n"] and not grid["n_waiting"]:
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
def grid_json(
    request: Request, order: Order = "worst", q: Annotated[str, Query(max_length=200)] = ""
) -> dict[str, Any]:
    """The small plots as data; q : part of the names of their series."""
    return ctf_grid(site_of(request).review(project_of(request)), order, q)


@router.get("/ctf/{name}/facts.json")
def ctf_json(request: Request, name: str) -> dict[str, Any]:
    """Tilts of one series with their fits."""
    return ctf_facts(project_of(request), name)


class FitRequest(BaseModel):
    """Choice of the CTF fit for some tilts."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tilts: tuple[int, ...] = Field(min_length=1, max_length=500)
    how: CtfChoice


@router.post("/ctf/{name}/fit")
def fit_again(request: Request, name: str, wanted: FitRequest) -> dict[str, Any]:
    """Fit tilts again near the others, or reject their fits; images and other series do not change."""
    project = project_of(request)
    known = project.acquisition_indices(name)
    if unknown := sorted(set(wanted.tilts) - known):
        raise UserInputError(f"{name} has no tilt of acquisition index {unknown}")
    node = _node_of(project)
    if node is None:
        raise UserInputError(
            "the workflow has no estimate_ctf; CTFs that were imported cannot be fitted again"
        )
    changes = changes_for_ctf(name, wanted.tilts, wanted.how, node, project.decisions())
    if not changes:
        raise UserInputError("these tilts are treated so already")
    why = {"near": "fitted near the others", "predict": "fit rejected", "own": "own fit"}[wanted.how]
    project.decide(changes, Author(getpass.getuser(), request.state.role, "web: ctf"), why)
    return job_facts(
        start_job(project.folder, f"CTF of {name}", ["resume", "--project", "."], getpass.getuser())
    )


def _node_of(project: ProjectView) -> str | None:
    """Name of the node that estimates CTFs."""
    estimating = steps_taking("ctf")
    return next((node.name for node in project.current_nodes() if node.step in estimating), None)


def ctf_facts(project: ProjectView, name: str) -> dict[str, Any]:
    """Rows and fitted curves of one series."""
    view = project.series(name)
    curves = view.record("ctf_curves")
    hand = view.figure("handedness")
    run = view.maker_of("ctf_curves")
    return {
        "name": name,
        "rows": [tilt_facts(tilt) for tilt in judged_tilts_of(view)],
        "curves": {curve["acquisition_index"]: curve for curve in curves}
        if isinstance(curves, list | tuple)
        else {},
        "handedness": hand,
        "handedness_gain_nats": view.figure("handedness_evidence"),
        "run": None if run is None else run.id,
        "choices": ctf_choices(name, _node_of(project) or "", project.decisions()),
    }
