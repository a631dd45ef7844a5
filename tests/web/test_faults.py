"""What breaks beside the server costs one sentence in place; the rest works, and no decision is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cryoloom.store.decisions import Author, Change, Decisions, in_force
from cryoloom.store.names import FILE_NAME
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import serving
from makers.old_projects import project_of_version_3
from makers.web_project import MadeProject

P = "/p/HIV-session"


@pytest.mark.parametrize("fault", ["gone", "cut off", "no image"])
def test_a_volume_that_cannot_be_read_leaves_the_rest_of_the_page(
    made: MadeProject, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "HIV session"
    shutil.copytree(made.folder, folder)
    volume = next(folder.glob("**/item0/tomogram.mrc"))
    if fault == "gone":
        volume.unlink()
    elif fault == "cut off":
        os.truncate(volume, 5000)
    else:
        volume.write_bytes(b"\0" * 4096)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([folder], shelf), shelf)
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}", "x-cryoloom": "1"}
        with httpx.Client(base_url=served.origin, headers=headers) as http:
            facts = http.get(f"{P}/tomo/TS_01/facts.json").json()
            answer = http.get(f"{facts['variants'][0]['base']}/info.json")
            assert answer.status_code == 422
            sentence = answer.json()["error"]
            assert "tomogram.mrc" in sentence
            assert "\n" not in sentence
            for page in ("", "/series", "/series/TS_01", "/tomo/TS_01", "/tomo/TS_02", "/live"):
                assert http.get(P + page).status_code == 200
            keep = {"kind": "series", "item": "TS_01", "value": {"keep": False}}
            assert http.post(f"{P}/decide", json={"changes": [keep]}).status_code == 200
    site.close()


def test_older_projects_are_served_and_a_broken_one_is_one_sentence(tmp_path: Path) -> None:
    older = project_of_version_3(tmp_path / "older")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / FILE_NAME).write_bytes(b"this is no database" * 100)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([broken, older], shelf), shelf)
    with serving(site) as served:
        headers = {"authorization": f"token {served.access.owner_token}"}
        with httpx.Client(base_url=served.origin, headers=headers) as http:
            assert http.get("/").status_code == 200
            assert len(http.get("/p/older/series.json").json()["rows"]) == 3
            answer = http.get("/p/broken/series.json")
            assert answer.status_code == 404
            assert "cannot be read as a project database" in answer.json()["error"]
            page = http.get("/p/broken", headers={"accept": "text/html"})
            assert page.status_code == 404
            assert "cannot be read as a project database" in page.text
    site.close()


def test_a_decision_that_was_answered_survives_a_killed_process(made: MadeProject, tmp_path: Path) -> None:
    """Killed right after the answer, the way a server is by a full machine."""
    folder = tmp_path / "copy"
    shutil.copytree(made.folder, folder)
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from cryoloom.store.decisions import Author, Change, Decisions\n"
        "change = Change('tilt', 'TS_01', '3', {'keep': False})\n"
        "Decisions(Path(sys.argv[1])).decide([change], Author('anna'), 'ice')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    found = in_force(Decisions(folder).all(), kind="tilt")
    assert [(one.item, one.target, one.why) for one in found] == [("TS_01", "3", "ice")]
    Decisions(folder).decide(
        [Change("tilt", "TS_01", "4", {"keep": False})], Author("anna")
    )  # no lock is left
