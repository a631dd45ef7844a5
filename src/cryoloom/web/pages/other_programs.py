"""Other programs for a tomogram and its particles: scripts, commands, and Neuroglancer in the browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.web.events import MOST_STREAMS
from cryoloom.web.in_thread import InThread
from cryoloom.web.other_programs.neuroglancer import client_folder, neuroglancer_state, zarr_answer
from cryoloom.web.other_programs.scene import (
    PlacedSet,
    Scene,
    file_of,
    sets_of_particles,
    sets_of_picks,
)
from cryoloom.web.other_programs.scripts import (
    chimerax_script,
    command_for_3dmod,
    napari_script,
    safe_file_name,
)
from cryoloom.web.pages.image_routes import image_of
from cryoloom.web.pages.tomogram import places_of_models, tomogram_facts
from cryoloom.web.pictures.images import open_pixels
from cryoloom.web.project_view import ProjectView, TomogramAt
from cryoloom.web.site import page, project_of, site_of

__all__ = ["router", "scene_of"]

router = APIRouter(route_class=InThread)
_CLIENT_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
)
_GENERATION = "cryoloom"
_HEARTBEAT_SECONDS = 15.0
"""As in `web.events`."""
_HOW_TO_GET_IT = "Neuroglancer is not installed with this server: pip install 'cryoloom[neuroglancer]'"


def scene_of(project: ProjectView, name: str, run: int | None, particles: tuple[int, ...]) -> Scene:
    """A tomogram of a series with its picks, and sets of particles by item.

    run : run that made the tomogram; None for the newest. Raises UserInputError if it does not exist, and
    DataUnfitError if it is not a file.
    """
    view = project.series(name)
    chosen = view.tomogram_of(run)
    path = file_of(chosen.tomogram.volume)
    if path is None:
        raise DataUnfitError(f"the tomogram of {name} is computed when it is looked at; it is not a file")
    image = project.image(chosen.item.id or 0, "volume")
    facts = tomogram_facts(project, view)
    sets = sets_of_picks(facts["picks"], places_of_models(facts["models"]))
    sets += [_particles(project, name, item) for item in particles]
    return Scene(name, path, image.shape, image.pixel_size_angstrom, tuple(sets))


def _particles(project: ProjectView, name: str, item: int) -> PlacedSet:
    found = project.particles(item)
    average = project.average_beside(item) or found.template
    return sets_of_particles(
        f"{found.species} {item}",
        found.rows(),
        name,
        found.diameter_angstrom,
        None if average is None else file_of(average.map),
    )


def _asked(request: Request) -> Scene:
    """Scene of a request's query."""
    query = request.query_params
    run = query.get("run", "")
    items = tuple(int(word) for word in query.get("particles", "").split(",") if word.isdecimal())
    return scene_of(
        project_of(request), request.path_params["name"], int(run) if run.isdecimal() else None, items
    )


@router.get("/p/{project}/tomo/{name}/others.json")
def other_programs(request: Request) -> JSONResponse:
    """Commands, and the address of Neuroglancer."""
    scene = _asked(request)
    stem = safe_file_name(scene.name)
    facts = {
        "3dmod": command_for_3dmod(scene, f"{stem}.mod"),
        "chimerax": f"chimerax {stem}_chimerax.py",
        "napari": f"python {stem}_napari.py",
        "neuroglancer": client_folder() is not None,
        "neuroglancer_hint": _HOW_TO_GET_IT,
    }
    return JSONResponse(facts, headers={"cache-control": "no-store"})


@router.get("/p/{project}/tomo/{name}/chimerax.py")
def chimerax(request: Request) -> Response:
    """Script for ChimeraX."""
    scene = _asked(request)
    maps = {one.map_path for one in scene.sets if one.map_path is not None}
    return _script(chimerax_script(scene, {path: _centre(path) for path in maps}), scene, "chimerax")


@router.get("/p/{project}/tomo/{name}/napari.py")
def napari(request: Request) -> Response:
    """Script for napari."""
    scene = _asked(request)
    return _script(napari_script(scene), scene, "napari")


def _script(text: str, scene: Scene, program: str) -> Response:
    name = f"{safe_file_name(scene.name)}_{program}.py"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return Response(text, media_type="text/x-python", headers=headers)


def _centre(path: Path) -> tuple[int, int, int]:
    """Index (x, y, z) of the centre of a map."""
    n_z, n_y, n_x = open_pixels(path)[0].shape
    return n_x // 2, n_y // 2, n_z // 2


# Neuroglancer


@router.get("/p/{project}/image/{item}/{role}/{key}/levels.zarr/{path:path}")
def zarr_file(request: Request, key: str, path: str) -> Response:
    """The 8-bit levels of a volume as an OME-Zarr."""
    image = image_of(request, key)
    levels = site_of(request).shelf.levels(image)
    if levels is None:
        part = site_of(request).shelf.prepare(image)
        return JSONResponse({"error": f"Preparing this volume: {100 * part:.0f} %"}, 503)
    data, kind = zarr_answer(levels, image.pixel_size_angstrom or 1.0, path)
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=31536000, immutable"})


@router.get("/p/{project}/tomo/{name}/neuroglancer")
def open_neuroglancer(request: Request) -> Response:
    """Prepare the volume, then open Neuroglancer at the position of the query."""
    project = project_of(request)
    if client_folder() is None:
        raise UserInputError(_HOW_TO_GET_IT)
    view, query = project.series(request.path_params["name"]), request.query_params
    run = query.get("run", "")
    found = [one for one in view.tomograms if not run.isdecimal() or one.run.id == int(run)]
    if not found:
        raise UserInputError(f"{view.name} has no such tomogram")
    image = project.image(found[-1].item.id or 0, "volume")
    part = site_of(request).shelf.prepare(image)
    token = _token(project, found[-1], query.get("particles", ""), query.get("at", ""))
    data = {"part": part, "levels": f"{_base(project, found[-1])}/{image.key}/levels.json", "viewer": token}
    return page(request, "neuroglancer", name="tomograms", project=project, view=view, data=data)


def _base(project: ProjectView, at: TomogramAt) -> str:
    return f"/p/{project.slug}/image/{at.item.id}/volume"


_NUMBER = r"-?\d+(?:\.\d+)?"
_TOKEN = re.compile(rf"([A-Za-z0-9_-]+)~(\d+)~((?:\d+\.)*\d+)?~(?:({_NUMBER})_({_NUMBER})_({_NUMBER}))?")


def _token(project: ProjectView, at: TomogramAt, particles: str, place: str) -> str:
    """Content of a viewer as one part of an address: project, item, particles and position."""
    items = ".".join(word for word in particles.split(",") if word.isdecimal())
    numbers = place.split(",")
    is_place = len(numbers) == 3 and all(re.fullmatch(_NUMBER, number) for number in numbers)
    return f"{project.slug}~{at.item.id}~{items}~{'_'.join(numbers) if is_place else ''}"


def _state_of(request: Request, token: str) -> dict[str, Any]:
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise UserInputError(f"there is no viewer {token!r}")
    slug, item, items, *place = parts.groups()
    project = site_of(request).project(slug)
    image = project.image(int(item), "volume")
    name, run = project.series_and_run_of(int(item))
    scene = scene_of(project, name, run, tuple(int(word) for word in (items or "").split(".") if word))
    scheme = "https" if request.url.scheme == "https" else "http"
    source = f"{scheme}://{request.headers['host']}/p/{slug}/image/{item}/volume/{image.key}/levels.zarr/"
    at = None if place[0] is None else (float(place[0]), float(place[1]), float(place[2]))
    return neuroglancer_state(scene, source, at)


@router.get("/neuroglancer/v/{token}/{file:path}")
def client_file(token: str, file: str = "") -> Response:
    """A file of the client."""
    folder = client_folder()
    if folder is None:
        raise UserInputError(_HOW_TO_GET_IT)
    names = {path.name for path in folder.iterdir() if path.is_file()}
    name = file or "index.html"
    if name not in names:
        raise UserInputError(f"Neuroglancer has no file {name!r}")
    headers = {"content-security-policy": _CLIENT_POLICY}
    if name != "index.html":
        headers["cache-control"] = "private, max-age=86400"
    return FileResponse(folder / name, headers=headers)


_viewers: set[object] = set()  # open connections to the client


@router.get("/neuroglancer/events/{token}")
def client_events(request: Request, token: str, gs: str = "") -> Response:
    """Send the client its state once, and keep the connection open."""
    if len(_viewers) >= MOST_STREAMS:
        return JSONResponse({"error": f"{MOST_STREAMS} viewers are open already; close one"}, 503)
    state = _state_of(request, token)

    async def events() -> AsyncIterator[str]:
        me = object()
        _viewers.add(me)
        try:
            yield ": hello\n\n"
            if gs != _GENERATION:  # not again after a reconnection, which would discard the user's changes
                yield f"data: {json.dumps({'k': 's', 's': state, 'g': _GENERATION})}\n\n"
            while True:
                await asyncio.sleep(_HEARTBEAT_SECONDS)
                yield ": still here\n\n"
        finally:
            _viewers.discard(me)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.post("/neuroglancer/state/{token}")
async def client_state(request: Request, token: str) -> dict[str, str]:
    """Accept the state that the client sends; it is not stored."""
    said = await request.body()
    try:
        facts = json.loads(said[:1_000_000])
        return {"g": f"{facts['c']}/{facts['g']}"}
    except (ValueError, KeyError, TypeError) as error:
        raise UserInputError("this is not what Neuroglancer says") from error
