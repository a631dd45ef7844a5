"""Sets of particles: numbers, scores with a cut-off, and further processing."""

from __future__ import annotations

import getpass
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.contract.discovery import steps_taking
from cryoloom.errors import UserInputError
from cryoloom.model import doubt_of, no_resolution
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import Job, start_job
from cryoloom.web.pages.runs import job_facts
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import page, project_of
from cryoloom.workflows.averaging_chains import AVERAGING_CHAINS

__all__ = ["averaging_commands", "particle_set_facts", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
#: Chosen: items of a run that are read for a page; it bounds the time.
_MOST_READ = 400
_MOST_BINS = 40
"""Chosen for viewing."""


def _given_as(run: RunRecord, item: ItemRecord) -> str:
    """Name of a run's particles as an input."""
    return f"{run.id}.{item.output}" if item.output else str(run.id)


def particle_set_facts(project: ProjectView) -> list[dict[str, Any]]:
    """All sets, newest first."""
    sets = []
    for run, items in project.particle_runs():
        first = project.particles(items[0].id or 0)
        read = [first, *(project.particles(item.id or 0) for item in items[1:_MOST_READ])]
        doubt = doubt_of(read)
        sets.append(
            {
                "run": run.id,
                "node": run.node,
                "given_as": _given_as(run, items[0]),
                "n": sum(one.n_particles for one in read),
                "is_all_read": len(items) <= _MOST_READ,
                "species": first.species,
                "diameter_angstrom": first.diameter_angstrom,
                "symmetry": first.symmetry,
                "why_no_resolution": no_resolution(doubt) if doubt else "",
                "has_map": first.template is not None,
                "has_scores": "score" in first.table.columns,
                "items": [
                    {"item": item.id, "name": item.name, "n": one.n_particles}
                    for item, one in zip(items, read, strict=False)
                ],
            }
        )
    return sets


@router.get("/particles")
def particles_page(request: Request) -> Response:
    """The page."""
    project = project_of(request)
    sets = particle_set_facts(project)
    if not sets:
        return page(
            request,
            "empty",
            name="particles",
            project=project,
            title="No particles are here yet",
            text="Pick on the tomogram page, then press “make particles”; or run `pick_by_template`.",
            link=f"/p/{project.slug}/tomograms",
            link_text="Tomograms",
        )
    return page(request, "particles", name="particles", project=project, data={"sets": sets})


@router.get("/particles/{run_id}/scores.json")
def scores(request: Request, run_id: int) -> dict[str, Any]:
    """Histogram of the scores of a set, and a few thousand of its sorted scores for a live count."""
    project = project_of(request)
    found = [items for run, items in project.particle_runs() if run.id == run_id]
    if not found:
        raise UserInputError(f"run {run_id} gave no particles")
    parts = [project.particles(item.id or 0).rows().score for item in found[0][:_MOST_READ]]
    known = [score[np.isfinite(score)] for score in parts if score is not None]
    values = np.sort(np.concatenate(known)) if known else np.zeros(0)
    if not len(values):
        return {"edges": [], "n": [], "quantiles": [], "total": 0}
    n, edges = np.histogram(values, int(np.clip(np.sqrt(len(values)), 6, _MOST_BINS)))
    quantiles = np.quantile(values, np.linspace(0, 1, 1001))
    return {
        "edges": edges.round(5).tolist(),
        "n": n.tolist(),
        "quantiles": quantiles.round(5).tolist(),
        "total": len(values),
    }


class CutRequest(BaseModel):
    """Keep the particles of a run with at least this score."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    input: str = Field(pattern=r"^\d+(\.[a-z_]+)?$")
    min_score: Annotated[float, Field(allow_inf_nan=False)]


@router.post("/particles/cut")
def cut(request: Request, wanted: CutRequest) -> dict[str, Any]:
    """Start the run that excludes particles with low scores."""
    project = project_of(request)
    settings = ["--set", f"min_score={wanted.min_score:.6g}"]
    (step,) = steps_taking("least_score")
    command = ["run", step, "--project", ".", "--input", wanted.input, *settings]
    return job_facts(start_job(project.folder, "keep the best particles", command, getpass.getuser()))


class AverageRequest(BaseModel):
    """Average the particles of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    input: str = Field(pattern=r"^\d+(\.[a-z_]+)?$")
    symmetry: str = Field("C1", pattern=r"^(C[1-9]\d?|D[2-9]|D1\d|T|O|I)$")
    diameter_angstrom: Annotated[float, Field(gt=0, lt=1e4)] | None = None
    start_from: Literal["nothing", "map", "as they lie"] = "nothing"
    """``nothing``: an initial model is made from the particles alone; ``map``: the map of the picking;
    ``as they lie``: no refinement, the average in the existing orientations."""


def averaging_commands(wanted: AverageRequest) -> list[tuple[str, list[str]]]:
    """Titles and commands; each command runs if the one before has succeeded."""
    settings = ["--set", f"symmetry={wanted.symmetry}"]
    if wanted.diameter_angstrom is not None:
        settings += ["--set", f"diameter_angstrom={wanted.diameter_angstrom:g}"]
    return [
        (
            link.title,
            ["run", link.step, "--project", ".", "--input", link.source or wanted.input]
            + (settings if link.takes_symmetry else []),
        )
        for link in AVERAGING_CHAINS[wanted.start_from]
    ]


@router.post("/particles/average")
def average(request: Request, wanted: AverageRequest) -> list[dict[str, Any]]:
    """Start initial model, refinement and postprocessing, one after the other."""
    project = project_of(request)
    jobs: list[Job] = []
    for title, command in averaging_commands(wanted):
        after = jobs[-1].number if jobs else 0
        jobs.append(start_job(project.folder, title, command, getpass.getuser(), after=after))
    return [job_facts(job) for job in jobs]
