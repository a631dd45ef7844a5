"""A new project: what raw data tell, workflows as cards, Scipion's translated, and the start of it all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cryoloom.engine.graph.workflow import shipped_workflows
from cryoloom.web.job import jobs_of
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import Site
from makers.browser import Served, eventually, serving
from makers.mdocs_alone import raw

__all__ = ["raw"]
P = "/p/HIV-session"


@pytest.fixture(scope="module")
def served_raw(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    site = Site({}, ImageShelf(tmp_path_factory.mktemp("levels")), None, Roots((raw.parent,)))
    with serving(site) as running:
        yield running
    site.close()


def client(served: Served) -> httpx.Client:
    headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
    return httpx.Client(base_url=served.origin, headers=headers, timeout=60)


def test_paths_outside_of_the_roots_are_refused(served_raw: Served, raw: Path) -> None:
    (raw.parent / "link").symlink_to("/etc")
    with client(served_raw) as http:
        for path in ("/etc", "../..", "link", ".ssh", "a%00b"):
            for address in ("folders.json", "raw.json"):
                assert http.get(f"/{address}?path={path}").status_code == 404
        wanted = {"raw": str(raw), "name": "../out"}
        assert http.post("/new-project", json=wanted).status_code == 422
        assert http.post("/new-project", json={"raw": "/etc", "name": "out"}).status_code == 422
    (raw.parent / "link").unlink()


def test_a_project_is_made_in_three_actions(window: Any, served_raw: Served, raw: Path) -> None:
    opened = window(served_raw)
    page = opened.go("/new-project")
    page.set_default_timeout(60_000)  # a process that imports every step is started
    page.fill("#raw", str(raw))
    page.wait_for_function("() => document.querySelector('#found').textContent.startsWith('2 series')")
    page.wait_for_function("() => document.querySelectorAll('#cards button').length >= 8")
    names = page.evaluate(
        "() => [...document.querySelectorAll('#cards button')].map(one => one.dataset.workflow)"
    )
    assert set(names) == set(shipped_workflows())
    assert page.locator("#cards rect").count() > 20
    opened.shot("new-project")
    page.click("#cards button[data-workflow=lamella]")
    assert page.inner_text("#command") == f"cryoloom process {raw} --project raw_project --workflow lamella"
    page.click("#start")
    page.wait_for_url("**/p/raw_project")
    project = raw.parent / "raw_project"
    job = eventually(lambda: jobs_of(project))[0]
    assert job.command == ("process", str(raw), "--project", ".", "--workflow", "lamella")


def test_a_scipion_workflow_is_translated_with_what_was_not(
    window: Any, served_raw: Served, raw: Path
) -> None:
    scipion = [
        {
            "object.className": "ProtImportTsMovies",
            "object.id": "2",
            "object.label": "import",
            "filesPath": "/data",
        },
        {"object.className": "ProtSomethingUnknown", "object.id": "77", "object.label": "mystery"},
    ]
    file = raw.parent / "seed.json"
    file.write_text(json.dumps(scipion))
    opened = window(served_raw)
    page = opened.go("/new-project")
    page.set_default_timeout(60_000)
    page.set_input_files("#scipion", file)
    page.wait_for_selector("#cards button[data-workflow=seed][aria-checked=true]")
    assert "ProtSomethingUnknown" in page.inner_text("#left")
    assert "--workflow workflow.yaml" in page.inner_text("#command")
    opened.shot("new-project-scipion")


def test_results_and_workflow_are_exported(served: Served) -> None:
    with client(served) as http:
        made = http.post(f"{P}/export", json={"format": "imod"}).json()
        assert made["to"] == "exports/imod"
        assert "--format imod" in made["command"]
        assert http.post(f"{P}/export", json={"format": "../x"}).status_code == 422
        text = http.get(f"{P}/workflow.yaml").text
    assert "step: estimate_ctf" in text
