"""Results from drawings: particles from picks, tomograms with manual slabs, and particles to view."""

from __future__ import annotations

import getpass
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.contract.discovery import steps_taking
from cryoloom.errors import UserInputError
from cryoloom.store.current_nodes import CurrentNode
from cryoloom.store.decisions import Author, Change
from cryoloom.web.drawn.drawn_parameters import changes_for_picks, changes_for_slabs
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import start_job
from cryoloom.web.pages.runs import job_facts
from cryoloom.web.pictures.small_maps import outline_of
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import project_of

__all__ = ["router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
#: Chosen: particles of one tomogram that are drawn on its slices.
_MOST_PARTICLES = 50_000


class UseRequest(BaseModel):
    """Make particles from a set of picks."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    set: str = Field(min_length=1, max_length=60)
    run: int
    """Run of their tomograms."""


@router.post("/picks/use")
def use_picks(request: Request, wanted: UseRequest) -> dict[str, Any]:
    """Pass the picks of a set to pick_by_hand; only series with changed picks are computed again."""
    project = project_of(request)
    nodes = {node.step: node for node in project.current_nodes()}
    (picking,), (placing,) = steps_taking("picks"), steps_taking("surfaces")
    by_hand, on_surfaces = nodes.get(picking), nodes.get(placing)
    decisions = project.decisions()
    changes = changes_for_picks(
        wanted.set,
        project.series_with_tomograms(),
        decisions,
        by_hand.name if by_hand else picking,
        on_surfaces.name if on_surfaces else placing,
    )
    has_surfaces = any(
        one["shape"] for change in changes if change.target.endswith(".models") for one in change.value
    )
    if not changes and by_hand is None:
        raise UserInputError(f"the set {wanted.set!r} has no picks; choose a tool and click into a slice")
    _decide(project, changes, f"picks of {wanted.set}", request)
    who = getpass.getuser()
    if by_hand is not None and (on_surfaces is not None or not has_surfaces):
        return job_facts(
            start_job(project.folder, f"picks of {wanted.set}", ["resume", "--project", "."], who)
        )
    first = None
    if by_hand is None:
        command = ["run", picking, "--project", ".", "--input", str(wanted.run)]
        first = start_job(project.folder, f"picks of {wanted.set}", command, who)
    if not has_surfaces and first is not None:
        return job_facts(first)
    command = ["run", placing, "--project", ".", "--input", picking]
    after = first.number if first is not None else 0
    return job_facts(start_job(project.folder, f"places on {wanted.set}", command, who, after=after))


@router.post("/slabs/use")
def use_slabs(request: Request) -> dict[str, Any]:
    """Compute again what depends on manual slabs; other series do not change."""
    project = project_of(request)
    nodes = project.current_nodes()
    if not _uses_slabs(nodes):
        raise UserInputError("the workflow neither measures a slab nor reconstructs; run `reconstruct` first")
    changes = changes_for_slabs(nodes, project.decisions())
    if not changes:
        raise UserInputError("every slab that was set by hand is in use already; drag an edge first")
    _decide(project, changes, "slab by hand", request)
    return job_facts(
        start_job(project.folder, "slabs by hand", ["resume", "--project", "."], getpass.getuser())
    )


def _uses_slabs(nodes: tuple[CurrentNode, ...]) -> bool:
    return any(node.step in (*steps_taking("slab"), *steps_taking("thickness")) for node in nodes)


def _decide(project: ProjectView, changes: list[Change], why: str, request: Request) -> None:
    if changes:
        project.decide(changes, Author(getpass.getuser(), request.state.role, "web: tomogram"), why)


@router.get("/tomo/{name}/particles.json")
def particle_sets(request: Request, name: str) -> list[dict[str, Any]]:
    """Sets that can have particles in this tomogram, newest first."""
    project = project_of(request)
    project.require_series(name)
    return [
        {"item": item.id, "title": f"{run.id} {run.node}" + ("" if item.name == name else f": {item.name}")}
        for run, item in reversed(project.particle_sets_of(name))
    ]


def _finite(value: float) -> float | None:
    """A score as a JSON value."""
    return round(float(value), 4) if np.isfinite(value) else None


@router.get("/tomo/{name}/particles/{item_id}.json")
def particles_of_tomogram(request: Request, name: str, item_id: int) -> dict[str, Any]:
    """Positions of a set's particles in a tomogram, and the directions of their references' z axes."""
    project = project_of(request)
    particles = project.particles(item_id)
    rows = particles.rows()
    rows = rows.take(np.flatnonzero(rows.tomogram == name)[:_MOST_PARTICLES])
    return {
        "diameter_angstrom": particles.diameter_angstrom,
        "species": particles.species,
        "places": rows.positions_xyz_angstrom.round(1).tolist(),
        # Columns of a rotation are the directions of the reference's axes in the tomogram.
        "axes": rows.rotations[:, :, 2].round(3).tolist(),
        "scores": None if rows.score is None else [_finite(score) for score in rows.score],
        "surfaces": None if rows.surface is None else rows.surface.tolist(),
        "run": project.series_and_run_of(item_id)[1],
    }


@router.get("/tomo/{name}/particles/{item_id}/outline.json")
def outline_of_particles(request: Request, name: str, item_id: int) -> dict[str, Any]:
    """Surface of the particles' average, and its rotation at each particle, in their order.

    Raises UserInputError if no map of the particles is known.
    """
    project = project_of(request)
    rows = project.particles(item_id).rows()
    rows = rows.take(np.flatnonzero(rows.tomogram == name)[:_MOST_PARTICLES])
    at = project.map_of_particles(item_id)
    if at is None:
        raise UserInputError(
            "no map of these particles is known: refine them, or pick with a template, to see their outlines"
        )
    image = project.image(at.item, at.role)
    outline = outline_of(image.pixels, image.shape, image.pixel_size_angstrom)
    return {
        "name": image.name,
        "vertices": outline.vertices_xyz_angstrom.round(1).tolist(),
        "triangles": outline.triangles.tolist(),
        "rotations": rows.rotations.reshape(rows.n, 9).round(4).tolist(),
    }
