"""Averages: slices of the map and its halves, Fourier shell correlation, and the surface."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from numpy.typing import NDArray

from cryoloom.algorithms.map_quality.surface_mesh import surface_mesh
from cryoloom.algorithms.series.derived_pixels import files_of
from cryoloom.contract.discovery import record_names
from cryoloom.errors import UserInputError
from cryoloom.formats.exchange.gltf import glb_of
from cryoloom.model import Average, ParticleRows
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.views.particle_plots import why_no_resolution
from cryoloom.web.in_thread import InThread
from cryoloom.web.other_programs.scripts import safe_file_name
from cryoloom.web.pictures.small_maps import small_position, small_volume
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import page, project_of

__all__ = ["average_facts", "class_facts", "particle_facts", "router"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)
_MAPS = (("map", "map"), ("half1", "half 1"), ("half2", "half 2"), ("mask", "mask"))
_DIRECTION_BINS = (18, 36)
_N_SCORE_BINS = 24
"""Chosen for viewing."""
_ITERATIONS = ("iterations", "passes")
"""Records of iterative steps, with figures of every pass."""
FSC_THRESHOLD = 0.143
"""Rosenthal & Henderson, J. Mol. Biol. 333 (2003)."""


def average_facts(project: ProjectView, run: RunRecord, item: ItemRecord, average: Average) -> dict[str, Any]:
    """Data for the page's script."""
    return {
        "item": item.id,
        "name": average.name,
        "run": run.id,
        "node": run.node,
        "symmetry": average.symmetry,
        "voxel_size_angstrom": average.voxel_size_angstrom,
        "resolution_angstrom": average.resolution_angstrom,
        "why_no_resolution": why_no_resolution(average),
        "n_particles": average.n_particles,
        "maps": [
            {"title": title, "base": f"/p/{project.slug}/image/{item.id}/{role}"}
            for role, title in _MAPS
            if getattr(average, role) is not None
        ],
        "curves": [
            {"name": curve.name, "x": list(curve.frequency_per_angstrom), "y": list(curve.correlation)}
            for curve in average.curves
        ],
        "crossing_angstrom": crossing_angstrom(average),
        "figures": dict(item.figures),
        "path": run.folder,
        "iterations": next((rows for name in _ITERATIONS if (rows := _rows(project, item, name))), []),
        "passes": _passes(project.record_of(item, "pass_sections")),
        "tables": [
            {"title": name.replace("_", " "), "rows": rows}
            for name in sorted(record_names("table") - set(_ITERATIONS))
            if (rows := _rows(project, item, name))
        ],
    }


def _rows(project: ProjectView, item: ItemRecord, name: str) -> list[dict[str, Any]]:
    """A record of named values as rows; empty if it is missing or has another form."""
    record = project.record_of(item, name)
    rows = [record] if isinstance(record, dict) else record if isinstance(record, list) else []
    return [row for row in rows if isinstance(row, dict) and row]


def _passes(record: Any) -> list[dict[str, Any]]:
    """Curve and central sections of every pass of a refinement, in order; empty if they are not known."""
    found = [one for one in record or () if isinstance(one, dict) and one.get("sections")]
    return [
        {
            "x": [round(shell / one["box_angstrom"], 5) for shell in range(len(one["correlation"]))],
            "y": one["correlation"],
            "side": one["side_px"],
            "sections": one["sections"],
        }
        for one in found
    ]


def class_facts(
    project: ProjectView, averages: Sequence[tuple[RunRecord, ItemRecord, Average]], run: RunRecord
) -> list[dict[str, Any]]:
    """Averages of one run: the classes of its particles; empty for a single average."""
    found = [(item, average) for one, item, average in averages if one.id == run.id]
    total = sum(average.n_particles or 0 for _, average in found)
    if len(found) < 2:
        return []
    return [
        {
            "item": item.id,
            "title": average.name,
            "n": average.n_particles,
            "base": f"/p/{project.slug}/image/{item.id}/map",
            "percent": round(100 * average.n_particles / total, 1) if average.n_particles and total else None,
        }
        for item, average in found
    ]


def crossing_angstrom(average: Average) -> float | None:
    """Resolution in angstrom at which the best curve first falls below 0.143; None if it never does."""
    names = ("corrected", "masked", "unmasked")
    curve = next((c for name in names for c in average.curves if c.name == name), None)
    if curve is None:
        return None
    x, y = np.array(curve.frequency_per_angstrom), np.array(curve.correlation)
    below = np.flatnonzero(y < FSC_THRESHOLD)
    if not len(below) or below[0] == 0:
        return None
    i = int(below[0])
    part = (y[i - 1] - FSC_THRESHOLD) / (y[i - 1] - y[i])
    return round(float(1.0 / (x[i - 1] + part * (x[i] - x[i - 1]))), 2)


@router.get("/averages")
def last_average(request: Request) -> Response:
    """Page of the newest average, or instructions if there is none."""
    project = project_of(request)
    found = project.averages()
    if found:
        return RedirectResponse(f"/p/{project.slug}/average/{found[-1][1].id}", 303)
    return page(
        request,
        "empty",
        name="averages",
        project=project,
        title="No average yet",
        text="Pick particles on the tomogram page or by template, then refine them.",
        link=f"/p/{project.slug}/tomograms",
        link_text="Tomograms",
    )


@router.get("/average/{item_id}")
def average_page(request: Request, item_id: int) -> Response:
    """The page of one average."""
    project = project_of(request)
    found = project.averages()
    chosen = next((one for one in found if one[1].id == item_id), None)
    if chosen is None:
        raise UserInputError(f"this project has no average {item_id}")
    data = average_facts(project, *chosen) | {
        "classes": class_facts(project, found, chosen[0]),
        "all": [
            {"item": item.id, "title": f"run {run.id} {run.node}: {average.name}"}
            for run, item, average in found
        ],
    }
    return page(
        request,
        "average",
        name="averages",
        project=project,
        average=chosen[2],
        average_of=chosen[0].id,
        average_run=_run_with_particles(project, *chosen[:2]),
        data=data,
    )


def _run_with_particles(project: ProjectView, run: RunRecord, item: ItemRecord) -> int:
    """Run of the particles of an average; the average's own run if that is not known."""
    beside = project.particles_beside(run, item)
    return run.id if beside is None else beside.run_id


@router.get("/average/{item_id}/particles.json")
def particles_of_average(request: Request, item_id: int) -> dict[str, Any]:
    """Directions, series and scores of the particles of an average."""
    project = project_of(request)
    chosen = next(((run, item) for run, item, _ in project.averages() if item.id == item_id), None)
    if chosen is None:
        raise UserInputError(f"this project has no average {item_id}")
    beside = project.particles_beside(*chosen)
    if beside is None:
        return {"item": None, "n": 0, "directions": [], "series": []}
    return {"item": beside.id, **particle_facts(project.particles(beside.id or 0).rows())}


def particle_facts(rows: ParticleRows) -> dict[str, Any]:
    """Density of the directions of the reference's z axes over the sphere, and particles by series.

    directions : (latitude, longitude) in bins of equal solid angle, 1 for a uniform distribution; latitude
    from the south in equal steps of z, longitude from -180 degrees.
    """
    x, y, z = rows.rotations[:, :, 2].T
    counts, _, _ = np.histogram2d(
        z.clip(-1, 1), np.degrees(np.arctan2(y, x)), bins=_DIRECTION_BINS, range=((-1, 1), (-180, 180))
    )
    names, n_of = np.unique(rows.tomogram, return_counts=True)
    return {
        "n": rows.n,
        "directions": (counts * counts.size / max(rows.n, 1)).round(3).tolist(),
        "series": sorted(
            ([str(name), int(n)] for name, n in zip(names, n_of, strict=True)), key=lambda one: -one[1]
        ),
        "scores": None if rows.score is None else _score_histogram(rows.score),
    }


def _score_histogram(scores: NDArray[np.float64]) -> dict[str, Any] | None:
    """Edges and counts of the finite scores; None if there are none."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return None
    n, edges = np.histogram(finite, _N_SCORE_BINS)
    return {"edges": edges.round(4).tolist(), "n": n.tolist()}


@router.get("/average/{item_id}/{role}/volume.u8")
def volume_bytes(request: Request, item_id: int, role: str) -> Response:
    """The map with at most 96 voxels a side, 8 bits, for the surface; shape and range are in headers."""
    image = project_of(request).image(item_id, role)
    small, low, high = small_volume(image.pixels, image.shape)
    headers = {
        "cache-control": "no-store",
        "x-shape": ",".join(map(str, small.shape)),
        "x-range": f"{low:.9g},{high:.9g}",
    }
    return Response(small.tobytes(), media_type="application/octet-stream", headers=headers)


@router.get("/average/{item_id}/{role}/surface.glb")
def surface_glb(
    request: Request, item_id: int, role: str, level: Annotated[float, Query(gt=0, lt=255)]
) -> Response:
    """The shown surface as binary glTF. level : in the 8 bits of `volume_bytes`."""
    image = project_of(request).image(item_id, role)
    small, _, _ = small_volume(image.pixels, image.shape)
    mesh = surface_mesh(small.astype(np.float32), level)
    if not len(mesh.triangles):
        raise UserInputError(f"no voxel of {image.name} reaches this level; choose a lower one")
    positions = small_position(mesh.vertices_xyz, image.shape) * image.pixel_size_angstrom
    data = glb_of(positions, mesh.normals_xyz, mesh.triangles, image.name)
    name = safe_file_name(image.name)
    headers = {"content-disposition": f'attachment; filename="{name}.glb"', "cache-control": "no-store"}
    return Response(data, media_type="model/gltf-binary", headers=headers)


@router.get("/average/{item_id}/{role}/surface.cxc")
def surface_commands(
    request: Request, item_id: int, role: str, level: Annotated[float, Query(gt=0, lt=255)]
) -> Response:
    """Commands that open the map in ChimeraX with the shown surface."""
    image = project_of(request).image(item_id, role)
    _, low, high = small_volume(image.pixels, image.shape)
    (path,) = files_of(image.pixels)
    value = low + (high - low) * level / 255
    shown = f"volume #1 style surface step 1 level {value:.6g} color cornflowerblue"
    text = f"open {json.dumps(str(path))}\n{shown}\n"
    name = safe_file_name(image.name)
    headers = {"content-disposition": f'attachment; filename="{name}.cxc"', "cache-control": "no-store"}
    return Response(text, media_type="text/plain", headers=headers)
