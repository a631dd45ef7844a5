"""Files and commands for other programs, and a store that serves nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cryoloom.store.decisions import Author, Change
from makers.browser import Served
from makers.web_project import MadeProject, add_particles

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def particles(made: MadeProject) -> int:
    return add_particles(made.folder, made.truths["TS_01"])


def test_each_program_gets_a_command_and_a_file(
    window: Any, served: Served, made: MadeProject, particles: int
) -> None:
    """The file has the pick made here and the particles that are shown, and the path of the tomogram."""
    project = served.site.project("HIV-session")
    project.decide([Change("pick", "TS_01", "ribosome/a1", [10.0, 20.0, 30.0])], Author("anna"), "")
    page = window(served).go(f"{P}/tomo/TS_01?particles={particles}")
    page.wait_for_function("() => document.querySelector('#particles input')?.checked")
    page.click("#others summary")
    for program, command in (
        ("chimerax", "chimerax TS_01_chimerax.py"),
        ("napari", "python TS_01_napari.py"),
    ):
        with page.expect_download() as download:
            page.click(f"#to-{program}")
        text = download.value.path().read_text()
        compile(text, program, "exec")
        assert "ribosome" in text
        assert f"bead {particles}" in text
        assert str(made.folder) in text
        assert page.inner_text("#other-command") == command
    with page.expect_download() as download:
        page.click("#to-3dmod")
    assert download.value.path().read_bytes().startswith(b"IMODV1.2")
    assert page.inner_text("#other-command").startswith("3dmod ")


def test_the_store_and_the_client_are_behind_the_guard_and_nothing_else_is_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert httpx.get(f"{served.origin}/neuroglancer/v/HIV-session~1~~/").status_code == 401
    headers = {"authorization": f"token {served.access.viewer_token}"}
    with httpx.Client(base_url=served.origin, headers=headers) as http:
        for path in (
            "/neuroglancer/v/x/..%2fserver.py",
            "/neuroglancer/v/x/no_such.js",
            "/neuroglancer/events/x",
        ):
            assert http.get(path).status_code == 404
        # The client cannot send our header; what it says changes nothing, and another page may not say it.
        said = {"c": "client", "g": "3", "pg": "2", "s": {}}
        assert http.post("/neuroglancer/state/x", json=said).json() == {"g": "client/3"}
        elsewhere = http.post("/neuroglancer/state/x", json=said, headers={"origin": "http://evil.example"})
        assert elsewhere.status_code == 403
        assert http.post("/neuroglancer/state/x", content=b"{").status_code == 422
        monkeypatch.setattr("cryoloom.web.pages.other_programs.client_folder", lambda: None)
        answer = http.get(f"{P}/tomo/TS_01/neuroglancer")
        assert "pip install 'cryoloom[neuroglancer]'" in answer.json()["error"]
