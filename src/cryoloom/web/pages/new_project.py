"""A new project: choose raw data, see their metadata, choose or drop a workflow, start."""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cryoloom.errors import UserInputError
from cryoloom.web.in_thread import InThread
from cryoloom.web.job import start_job
from cryoloom.web.raw_data import look_at
from cryoloom.web.site import page, project_of, site_of

__all__ = ["router"]

router = APIRouter(route_class=InThread)
_LARGEST_UPLOAD = 10_000_000
"""Chosen: largest workflow in characters; workflows of Scipion are much shorter."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Upload(_Frozen):
    """A workflow exported by Scipion."""

    text: str = Field(max_length=_LARGEST_UPLOAD)


class NewProject(_Frozen):
    """Data and workflow of a new project."""

    raw: str
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,80}$")
    """Name of the folder, which is made beside the raw data if that is writable."""
    parent: str = ""
    workflow: str = Field("tomogram", pattern=r"^[a-z][a-z0-9_]*$")
    yaml: str = Field("", max_length=_LARGEST_UPLOAD)
    """A translated workflow; it replaces the named one."""


@router.get("/new-project")
def new_project_page(request: Request) -> Response:
    """The page."""
    roots = site_of(request).root_names()
    return page(request, "new_project", name="new-project", data={"roots": roots})


@router.get("/folders.json")
def folders(request: Request, path: str = "") -> dict[str, Any]:
    """Folders that can be chosen."""
    return site_of(request).roots.listing(path)


@router.get("/raw.json")
def raw_data(request: Request, path: str) -> dict[str, Any]:
    """Metadata of a folder of raw data."""
    roots = site_of(request).roots
    folder = roots.checked(path)
    if not folder.is_dir():
        raise UserInputError(f"{path} is not a folder")
    return look_at(folder, roots.holds)


@router.get("/workflows.json")
def workflows(request: Request) -> list[dict[str, Any]]:
    """Workflows of the package, with the positions of their cards."""
    found: list[dict[str, Any]] = site_of(request).catalogue.catalogue()["workflows"]
    return found


@router.post("/workflows/translate")
def translate(request: Request, upload: Upload) -> dict[str, Any]:
    """Translation of a Scipion workflow, and the parts that were not translated; nothing is stored."""
    return site_of(request).catalogue.ask({"do": "translate", "text": upload.text})


@router.post("/new-project")
def make_project(request: Request, wanted: NewProject) -> dict[str, Any]:
    """Make the project and start its workflow; the answer is its name in addresses."""
    site = site_of(request)
    raw = site.roots.checked(wanted.raw)
    parent = site.roots.checked(wanted.parent) if wanted.parent else raw.parent
    folder = site.roots.checked(str(parent)) / wanted.name
    workflow = _workflow_file(folder, wanted)
    if folder.exists() and any(folder.iterdir()):
        raise UserInputError(f"{folder} exists and is not empty; choose another name")
    slug = site.make_project(folder)
    if wanted.yaml:
        (folder / "workflow.yaml").write_text(wanted.yaml)
    command = ["process", str(raw), "--project", ".", "--workflow", workflow]
    start_job(folder, f"process {raw.name}", command, getpass.getuser())
    return {"slug": slug}


def _workflow_file(folder: Path, wanted: NewProject) -> str:
    return str(folder / "workflow.yaml") if wanted.yaml else wanted.workflow


class ExportRequest(_Frozen):
    """Results for another program."""

    format: str = Field(pattern=r"^[a-z0-9]{2,20}$")
    name: str = Field("", max_length=60)


@router.post("/p/{project}/export")
def export(request: Request, wanted: ExportRequest) -> dict[str, Any]:
    """Write the current results below ``exports/`` of the project, in another program's format."""
    project = project_of(request)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted.name).strip("-") or wanted.format
    number = 1
    while (target := project.folder / "exports" / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    command = ["export", "--project", ".", "--format", wanted.format, "--to", str(target)]
    job = start_job(project.folder, f"export to {wanted.format}", command, getpass.getuser())
    return {"number": job.number, "command": job.as_typed, "to": str(target.relative_to(project.folder))}


@router.get("/p/{project}/workflow.yaml")
def workflow_file(request: Request) -> Response:
    """The steps of the project as a workflow for other data."""
    project = project_of(request)
    answer = site_of(request).catalogue.ask({"do": "export_workflow", "project": str(project.folder)})
    headers = {
        "content-disposition": f'attachment; filename="{project.slug}.yaml"',
        "cache-control": "no-store",
    }
    return Response(answer["yaml"], media_type="text/yaml", headers=headers)
