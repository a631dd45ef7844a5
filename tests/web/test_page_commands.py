"""What a browser can do can be done without it, and each page says how."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from cryoloom.cli.main import app as command_line
from cryoloom.contract.discovery import all_steps
from cryoloom.store.decisions import in_force
from cryoloom.store.reading import ProjectReader
from cryoloom.web.access import Access
from cryoloom.web.app import make_app
from cryoloom.web.decide import DecisionRequest
from cryoloom.web.page_commands import COMMANDS, commands_of
from cryoloom.web.site import Site
from makers.browser import Served, eventually
from makers.web_project import MadeProject

KEEPS_NOTHING = {"/check", "/shell", "/places", "/neuroglancer/state/{token}", "/workflows/translate"}
"""Routes that are posted to because of the length of what is asked; they answer and keep nothing."""
P = "/p/HIV-session"


def writing_routes(site: Site) -> set[str]:
    """Addresses below a project that are written to; of the guard's routes as they are nested."""
    found: set[str] = set()
    waiting = list(make_app(site, Access(cookie_name="c"))._app.routes)
    while waiting:
        route = waiting.pop()
        waiting += getattr(getattr(route, "original_router", None), "routes", [])
        if set(getattr(route, "methods", None) or ()) & {"POST", "DELETE", "PUT", "PATCH"}:
            found.add(re.sub(r"^/p/\{project\}", "", route.path))
    return found


def parsed(line: str, folder: Path) -> None:
    """Raise where the command line does not know a command or an option as written."""
    words = {"STEP": "align_series", "RUN": "1", "NUMBER": "1", "FOLDER": "out", "RAW": str(folder)}
    words |= {"FILE": str(folder / "project.sqlite"), "MAP.mrc": str(folder / "project.sqlite")}
    _, *arguments = [words.get(word, word) for word in shlex.split(line)]
    command: Any = typer.main.get_command(command_line)
    context = click.Context(command)
    while isinstance(command, click.Group) or hasattr(command, "resolve_command"):
        name, command, arguments = command.resolve_command(context, arguments)
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, arguments)


def test_every_writing_route_has_its_command(site: Site) -> None:
    listed = {route for page in COMMANDS.values() for one in page for route in one.routes}
    listed |= {"/undo", "/redo"}
    routes = writing_routes(site)
    assert routes - listed == KEEPS_NOTHING
    assert listed <= routes


@pytest.mark.parametrize("template", COMMANDS)
def test_commands_are_as_the_command_line_takes_them(template: str, made: MadeProject) -> None:
    for does, text in commands_of(template, made.folder, "TS_01", 2):
        if text.startswith("cryoloom "):
            parsed(text, made.folder)
            for parameter in re.findall(r"--set '?([a-z_0-9]+)=", text):
                assert any(parameter in one.params.model_fields for one in all_steps().values()), (
                    does,
                    parameter,
                )


@pytest.mark.parametrize("template", ["alignment", "tomogram"])
def test_python_records_what_the_browser_would(template: str, made: MadeProject, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    texts = [text for _, text in commands_of(template, folder, "TS_01", 2) if text.startswith("import")]
    found: dict[str, Any] = {}
    for text in texts:
        exec(text, found)
    with ProjectReader(folder) as reader:
        made_here = in_force(reader.decisions(), item="TS_01")
    kinds = {"alignment": {"track"}, "tomogram": {"pick", "model", "slab"}}
    assert {one.kind for one in made_here} == kinds[template]
    for one in made_here:  # the browser's own check takes them
        change = {"kind": one.kind, "item": one.item, "target": one.target, "value": one.value}
        if one.kind == "slab":
            del change["target"]
        DecisionRequest.model_validate_json(json.dumps({"changes": [change]}))


def test_a_page_shows_its_commands_for_what_it_shows(window: Any, served: Served) -> None:
    opened = window(served)
    page = opened.go(f"{P}/series/TS_01")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelector('#title').textContent === 'TS_02'")
    eventually(lambda: page.url, lambda url: "TS_02" in url)
    page.keyboard.press(">")
    page.wait_for_function(
        "() => document.querySelector('#commands').innerText.includes('cryoloom exclude TS_02 3,7-9')"
    )
    assert str(served.site.project("HIV-session").folder) in page.inner_text("#commands")
    opened.shot("commands")
    page.keyboard.press(">")
    assert page.locator("#commands").is_hidden()
