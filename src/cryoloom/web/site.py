"""Projects and files of one server, and its pages from templates."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from cryoloom.errors import CryoloomError, UserInputError
from cryoloom.store.database import Database
from cryoloom.store.names import FILE_NAME
from cryoloom.web.events import Watcher
from cryoloom.web.page_commands import commands_of
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.project_view import ProjectView
from cryoloom.web.review_index import ReviewIndex
from cryoloom.web.roots import Roots
from cryoloom.web.step_catalogue import StepCatalogue

__all__ = ["RAIL", "Site", "fragment", "open_projects", "page", "project_of", "site_of"]

RAIL = (
    ("", "Graph", "graph", "g"),
    ("/series", "Series", "series", "s"),
    ("/review", "Review", "review", "v"),
    ("/ctf", "CTF", "ctf", "c"),
    ("/align", "Alignment", "align", "a"),
    ("/tomograms", "Tomograms", "tomograms", "t"),
    ("/particles", "Particles", "particles", "p"),
    ("/averages", "Averages", "averages", "m"),
    ("/live", "Live", "live", "l"),
    ("/report", "Report", "report", "r"),
    ("/new", "New run", "new", "n"),
)
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("cryoloom.web"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Site:
    """Projects of a server by their names in addresses, and its files."""

    projects: dict[str, ProjectView]
    shelf: ImageShelf
    files: FilesView | None = None
    roots: Roots = field(default_factory=lambda: Roots(()))
    catalogue: StepCatalogue = field(default_factory=StepCatalogue)
    watchers: dict[str, Watcher] = field(default_factory=dict)
    indices: dict[str, ReviewIndex] = field(default_factory=dict)

    def watcher(self, project: ProjectView) -> Watcher:
        """Watcher of a project's database; one for all pages."""
        return self.watchers.setdefault(project.slug, Watcher(project))

    def root_names(self) -> list[str]:
        """Folders from which files can be chosen."""
        return [str(folder) for folder in self.roots.folders]

    def review(self, project: ProjectView) -> ReviewIndex:
        """Index of flagged tilts of a project; one for all pages."""
        return self.indices.setdefault(project.slug, ReviewIndex(project))

    def make_project(self, folder: Path) -> str:
        """Make an empty project, add it to the site, and return its name in addresses."""
        folder.mkdir(exist_ok=True)
        Database.create(folder).close()
        return _open_project(self.projects, folder, self.shelf)

    def project(self, slug: str) -> ProjectView:
        """A project by its name in addresses; raises UserInputError if there is none."""
        if slug not in self.projects:
            raise UserInputError(f"this server has no project {slug!r}")
        return self.projects[slug]

    def close(self) -> None:
        """Close streams, images and databases."""
        for watcher in self.watchers.values():
            watcher.close()
        self.catalogue.close()
        self.shelf.close()
        for project in self.projects.values():
            project.close()


def open_projects(folders: Sequence[Path], shelf: ImageShelf) -> dict[str, ProjectView]:
    """Open projects; each gets a short unique name for addresses."""
    found: dict[str, ProjectView] = {}
    for folder in folders:
        _open_project(found, folder, shelf)
    return found


def _open_project(opened: dict[str, ProjectView], folder: Path, shelf: ImageShelf) -> str:
    path = folder.absolute()
    if not (path / FILE_NAME).is_file():
        raise UserInputError(f"{path} is not a cryoloom project: it holds no {FILE_NAME}")
    name = path.parent.name if path.name == "project" else path.name
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "project"
    slug, n = stem, 1
    while slug in opened:
        n += 1
        slug = f"{stem}-{n}"
    opened[slug] = ProjectView(path, slug, shelf)
    return slug


def site_of(request: Request) -> Site:
    """Site of a request."""
    site: Site = request.app.state.site
    return site


def project_of(request: Request) -> ProjectView:
    """Project of a request's address."""
    return site_of(request).project(request.path_params["project"])


def fragment(request: Request, template: str, **values: Any) -> HTMLResponse:
    """A part of a page, which replaces the existing part."""
    role = getattr(request.state, "role", "viewer")
    text = _TEMPLATES.get_template(f"{template}.html.j2").render(role=role, **values)
    return HTMLResponse(text, headers={"cache-control": "no-store"})


def _status_of(project: ProjectView | None) -> str:
    """Progress of a project; "" if it cannot be read, which the page reports."""
    try:
        return "" if project is None else project.status_text()
    except (CryoloomError, sqlite3.Error, OSError):
        return ""


def _commands_of(
    template: str, project: ProjectView | None, values: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Functions of a page as commands, for the shown series and run."""
    folder = None if project is None else project.folder
    run = values.get("run")
    return commands_of(
        template, folder, getattr(values.get("view"), "name", "SERIES"), None if run is None else run.id
    )


def page(
    request: Request,
    template: str,
    *,
    name: str = "",
    project: ProjectView | None = None,
    status_code: int = 200,
    **values: Any,
) -> HTMLResponse:
    """A page from its template. ``data`` : values for the page's script."""
    text = _TEMPLATES.get_template(f"{template}.html.j2").render(
        project=project,
        status=_status_of(project),
        page=name,
        rail=RAIL,
        role=getattr(request.state, "role", "viewer"),
        commands=_commands_of(template, project, values),
        **values,
    )
    return HTMLResponse(text, status_code=status_code, headers={"cache-control": "no-store"})
