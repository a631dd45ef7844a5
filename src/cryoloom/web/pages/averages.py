"""Averages: slices of the map and its halves, Fourier shell correlation, and the surface."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from numpy.typing import NDArray

from cryoloom.errors import UserInputError
from cryoloom.model import Average, ParticleRows
from cryoloom.store.records import ItemRecord, RunRecord
from cryoloom.web.pictures.levels import binned
from cryoloom.web.project_view import ProjectView
from cryoloom.web.site import page, project_of

__all__ = ["average_facts", "particle_facts", "router", "small_volume"]

router = APIRouter(prefix="/p/{project}")
_MAPS = (("map", "map"), ("half1", "half 1"), ("half2", "half 2"), ("mask", "mask"))
_SURFACE_VOXELS = 96
_DIRECTION_BINS = (18, 36)
_N_SCORE_BINS = 24
FSC_THRESHOLD = 0.143


def average_facts(project: ProjectView, run: RunRecord, item: ItemRecord, average: Average) -> dict[str, Any]:
    """All that the page's script needs."""
    return {
        "item": item.id,
        "name": average.name,
        "run": run.id,
        "node": run.node,
        "symmetry": average.symmetry,
        "voxel_size_angstrom": average.voxel_size_angstrom,
        "resolution_angstrom": average.resolution_angstrom,
        "resolution_note": average.resolution_note,
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
    }


def crossing_angstrom(average: Average) -> float | None:
    """Where the best curve first falls below 0.143, in angstrom; None if it never does."""
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
    """The newest average, or how to get one."""
    project = project_of(request)
    found = project.averages()
    if found:
        return RedirectResponse(f"/p/{project.slug}/average/{found[-1][1].id}", 303)
    return page(
        request,
        "empty",
        name="averages",
        project=project,
        title="No average is here yet",
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
        "all": [
            {"item": item.id, "title": f"run {run.id} {run.node}: {average.name}"}
            for run, item, average in found
        ]
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
    """The run whose particles an average is made of; its own where that is not known."""
    beside = project.particles_beside(run, item)
    return run.id if beside is None else beside.run_id


@router.get("/average/{item_id}/particles.json")
def particles_of_average(request: Request, item_id: int) -> dict[str, Any]:
    """How the particles of an average are turned, where they are, and their scores."""
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

    directions : (latitude, longitude) of equal solid angles, 1 where they are as even as can be; latitude
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
    """Edges and counts of the scores that are finite; None where there are none."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return None
    n, edges = np.histogram(finite, _N_SCORE_BINS)
    return {"edges": edges.round(4).tolist(), "n": n.tolist()}


@router.get("/average/{item_id}/{role}/volume.u8")
def volume_bytes(request: Request, item_id: int, role: str) -> Response:
    """The map at no more than 96 voxels a side, 8 bits, for the surface; shape and range in headers."""
    image = project_of(request).image(item_id, role)
    small, low, high = small_volume(image.pixels, image.shape)
    headers = {
        "cache-control": "no-store",
        "x-shape": ",".join(map(str, small.shape)),
        "x-range": f"{low:.9g},{high:.9g}",
    }
    return Response(small.tobytes(), media_type="application/octet-stream", headers=headers)


def small_volume(pixels: Any, shape: tuple[int, int, int]) -> tuple[Any, float, float]:
    """A volume averaged to at most 96 voxels a side, as 8 bits from its least to its largest value."""
    factor = max(1, -(-max(shape) // _SURFACE_VOXELS))
    planes = []
    for z in range(0, shape[0] - factor + 1, factor):
        total = binned(np.array(pixels[z], dtype=np.float32), factor)
        for more in range(1, factor):
            total = total + binned(np.array(pixels[z + more], dtype=np.float32), factor)
        planes.append(total / factor)
    values = np.nan_to_num(np.stack(planes))
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / max(high - low, 1e-12))
    return scaled.round().astype(np.uint8), low, high
