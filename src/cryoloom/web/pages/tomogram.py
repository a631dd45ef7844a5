"""Tomograms: linked slices, variants, the slab, and picks with their surfaces."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.errors import UserInputError
from cryoloom.formats.imod.model import write_model
from cryoloom.model import Slab, TiltSeries
from cryoloom.store.decisions import Decision, in_force
from cryoloom.web.decide import ModelValue, Place
from cryoloom.web.drawn.picked_models import places_on
from cryoloom.web.drawn.picks_as_model import picks_as_model
from cryoloom.web.drawn.shell_fit import fit_shell
from cryoloom.web.drawn.slab_frames import slab_in_tomogram
from cryoloom.web.in_thread import InThread
from cryoloom.web.other_programs.scripts import safe_file_name
from cryoloom.web.project_view import ProjectView, SeriesView
from cryoloom.web.site import page, project_of, site_of

__all__ = ["places_of_models", "router", "slab_facts", "tomogram_facts"]

router = APIRouter(prefix="/p/{project}", route_class=InThread)


def slab_facts(series: TiltSeries | None, decided: dict[str, Any] | None) -> dict[str, Any] | None:
    """Position of the specimen in a tomogram of this series: manual, otherwise measured."""
    if decided is not None:
        return {**slab_in_tomogram(decided, series), "by": "user"}
    slab = None if series is None else series.slab
    if slab is None or slab.thickness_angstrom.measured is None:
        return None
    # After the slab is applied, it lies flat about z = 0 in the frame of the poses.
    lies = Slab() if slab.is_applied else slab
    return {
        "thickness_angstrom": slab.thickness_angstrom.measured,
        "z_offset_angstrom": lies.z_offset_angstrom.measured or 0.0,
        "tilt_x_deg": lies.tilt_x_deg.measured or 0.0,
        "tilt_y_deg": lies.tilt_y_deg.measured or 0.0,
        "by": slab.thickness_angstrom.measured_by,
    }


def tomogram_facts(project: ProjectView, view: SeriesView) -> dict[str, Any]:
    """Data for the page's script."""
    with_tomograms = project.series_with_tomograms()
    at = with_tomograms.index(view.name) if view.name in with_tomograms else -1
    events = project.decisions()
    slabs = in_force(events, kind="slab", item=view.name)
    slab = slabs[-1].value if slabs else None
    variants = in_force(events, kind="variant", item=view.name)
    return {
        "name": view.name,
        "previous": with_tomograms[at - 1] if at > 0 else None,
        "next": with_tomograms[at + 1] if 0 <= at < len(with_tomograms) - 1 else None,
        "variants": [
            {
                "run": one.run.id,
                "title": f"{one.run.node} ({one.tomogram.method})",
                "base": f"/p/{project.slug}/image/{one.item.id}/volume",
                "path": f"{one.run.folder}/{view.name}",
                "slab": slab_facts(one.tomogram.series, slab),
                "is_drawn": project.is_made_of_particles(one.item),
            }
            for one in view.tomograms
        ],
        "chosen": variants[-1].value if variants else None,
        "unbinned_pixel_angstrom": view.series.pixel_size_angstrom if view.series is not None else None,
        "picks": _picks(in_force(events, kind="pick", item=view.name)),
        "models": [
            {"id": one.target, **one.value, "who": one.who}
            for one in in_force(events, kind="model", item=view.name)
        ],
        "failure": view.failure,
    }


def _picks(decided: tuple[Decision, ...]) -> dict[str, list[list[Any]]]:
    """Points by set: number, x, y, z in angstrom, and author."""
    sets: dict[str, list[list[Any]]] = {}
    for one in decided:
        name, _, number = one.target.partition("/")
        sets.setdefault(name, []).append([number, *one.value, one.who])
    return sets


@router.get("/tomograms")
def first_tomogram(request: Request) -> Response:
    """Page of the first tomogram, or instructions if there is none."""
    project = project_of(request)
    names = project.series_with_tomograms()
    if names:
        return RedirectResponse(f"/p/{project.slug}/tomo/{quote(names[0], safe='')}", 303)
    return page(
        request,
        "empty",
        name="tomograms",
        project=project,
        title="No tomogram is here yet",
        text="Align the series, then run `reconstruct`.",
        link=f"/p/{project.slug}/new?step=reconstruct",
        link_text="Reconstruct",
    )


@router.get("/tomo/{name}")
def tomogram_page(request: Request, name: str) -> Response:
    """Page of the tomograms of one series."""
    project = project_of(request)
    view = project.series(name)
    return page(
        request, "tomogram", name="tomograms", project=project, view=view, data=tomogram_facts(project, view)
    )


@router.get("/tomo/{name}/facts.json")
def tomogram_json(request: Request, name: str) -> dict[str, Any]:
    """The same as data."""
    project = project_of(request)
    return tomogram_facts(project, project.series(name))


class ShellRequest(BaseModel):
    """A manually drawn sphere."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    item: int
    role: str = "volume"
    centre: Place
    radius_angstrom: float = Field(gt=0, lt=1e5)


@router.post("/shell")
def fit_a_shell(request: Request, wanted: ShellRequest) -> dict[str, Any]:
    """Fit a drawn sphere to the dark shell near it; nothing is stored."""
    site, project = site_of(request), project_of(request)
    image = project.image(wanted.item, wanted.role)
    levels = site.shelf.levels(image)
    if levels is None or levels.arrays[0] is None:
        raise UserInputError("this volume is still being prepared; try again in a moment")
    # A level at which the sphere is about 40 voxels wide is as good and faster.
    size = image.pixel_size_angstrom
    level = int(
        np.clip(np.floor(np.log2(max(1.0, wanted.radius_angstrom / size / 20))), 0, len(levels.arrays) - 1)
    )
    stored = levels.arrays[level]
    if stored is None:
        raise UserInputError("this volume has no 8-bit copy of that size")
    scale = 2.0**level
    # A coarser voxel is between the voxels of its mean; the origin is index n // 2 of each grid.
    full = np.array(image.shape[::-1])
    shift = (np.array(stored.shape[::-1]) // 2 + 0.5) * scale - (full // 2 + 0.5)
    offset = shift * size
    fit, points = fit_shell(stored, size * scale, np.array(wanted.centre) - offset, wanted.radius_angstrom)
    found = fit.ellipsoid
    every = max(1, len(points) // 60)
    return {
        "centre": (found.centre_xyz_angstrom + offset).round(1).tolist(),
        "radius_angstrom": round(float(found.half_axes_angstrom[0]), 1),
        "rms_angstrom": round(fit.rms_angstrom, 1),
        "points": (points[::every] + offset).round(1).tolist(),
    }


@router.post("/places")
def places_of_model(request: Request, wanted: ModelValue) -> dict[str, Any]:
    """Positions on a model, with their normals; nothing is stored."""
    project_of(request)
    return places_on(wanted)


@router.get("/tomo/{name}/picks.mod")
def picks_model(request: Request, name: str, run: int | None = None) -> Response:
    """All picks of a series as an IMOD model for a tomogram: that of a run, otherwise the newest."""
    project = project_of(request)
    view = project.series(name)
    image = project.image(view.tomogram_of(run).item.id or 0, "volume")
    facts = tomogram_facts(project, view)
    places = {name: one["places"] for name, one in places_of_models(facts["models"]).items()}
    model = picks_as_model(facts["picks"], places, image.shape, image.pixel_size_angstrom)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picks.mod"
        write_model(path, model)
        data = path.read_bytes()
    headers = {
        "content-disposition": f'attachment; filename="{safe_file_name(name)}.mod"',
        "cache-control": "no-store",
    }
    return Response(data, media_type="application/octet-stream", headers=headers)


def places_of_models(models: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Positions and normals on drawn surfaces and filaments, by model."""
    return {model["id"]: places_on(_value_of(model)) for model in models}


def _value_of(model: Mapping[str, Any]) -> ModelValue:
    return ModelValue.model_validate(
        {key: model[key] for key in ("shape", "points", "spacing_angstrom", "inwards")}
    )


@router.get("/tomo/{name}/picks.csv")
def picks_csv(request: Request, name: str) -> Response:
    """All picks of a series: set, xyz in angstrom from the volume's centre, normal if there is one."""
    project = project_of(request)
    facts = tomogram_facts(project, project.series(name))
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(
        ["set", "x_angstrom", "y_angstrom", "z_angstrom", "normal_x", "normal_y", "normal_z", "by"]
    )
    for set_name, points in facts["picks"].items():
        for _, x, y, z, who in points:
            table.writerow([set_name, x, y, z, "", "", "", who])
    made_by_model = places_of_models(facts["models"])
    for model in facts["models"]:
        made = made_by_model[model["id"]]
        for place, normal in zip(made["places"], made["normals"], strict=True):
            table.writerow([model["id"], *place, *normal, model["who"]])
    headers = {"content-disposition": 'attachment; filename="picks.csv"', "cache-control": "no-store"}
    return Response(buffer.getvalue(), media_type="text/csv", headers=headers)
