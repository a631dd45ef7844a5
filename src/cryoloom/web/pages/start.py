"""The first page, with the projects and files of this server."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cryoloom.errors import UserInputError
from cryoloom.web.in_thread import InThread
from cryoloom.web.site import page, site_of

__all__ = ["router"]

router = APIRouter(route_class=InThread)


@router.get("/")
def start(request: Request) -> Response:
    """All projects; if there is only one project or file, that one."""
    site = site_of(request)
    if site.files is not None and not site.projects:
        return RedirectResponse("/files", 303)
    if len(site.projects) == 1 and site.files is None:
        return RedirectResponse(f"/p/{next(iter(site.projects))}", 303)
    return page(request, "projects", projects=list(site.projects.values()), files=site.files)


@router.get("/files")
def first_file() -> Response:
    """The first file."""
    return RedirectResponse("/files/0", 303)


@router.get("/files/{number}")
def view_file(request: Request, number: int) -> Response:
    """One file."""
    files = site_of(request).files
    if files is None or not 0 <= number < len(files.files):
        raise UserInputError(f"there is no file number {number}")
    file = files.files[number]
    data = {
        "number": number,
        "tilts": file.tilt_deg,
        "placements": file.placements,
        "points": [one.facts() for one in file.points],
    }
    return page(request, "view", name="view", files=files, file=file, number=number, data=data)
