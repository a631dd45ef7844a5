"""A new project over HTTP: names and folders that are refused, and a folder that holds something is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.web.job import Job
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import Site
from makers.browser import Served, client, serving


@pytest.fixture
def rooted(tmp_path: Path):
    (tmp_path / "root" / "raw").mkdir(parents=True)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site({}, shelf, roots=Roots((tmp_path / "root",)))
    with serving(site) as served:
        yield served
    site.close()


def test_a_project_is_made_beside_its_data_and_started(
    rooted: Served, tmp_path: Path, started: list[Job]
) -> None:
    raw = tmp_path / "root" / "raw"
    with client(rooted) as http:
        made = http.post("/new-project", json={"raw": str(raw), "name": "HIV 2026"})
        assert made.json() == {"slug": "HIV-2026"}
        assert (tmp_path / "root" / "HIV 2026" / "project.sqlite").is_file()
        again = http.post("/new-project", json={"raw": str(raw), "name": "HIV 2026"})
        assert again.status_code == 422
        assert again.json()["error"].endswith("exists and is not empty; choose another name")
    assert started[0].command == ("process", str(raw), "--project", ".", "--workflow", "tomogram")


@pytest.mark.parametrize("name", ["", "../out", "a/b", ".hidden", "x" * 90, "new\nline"])
def test_names_that_are_no_folder_are_refused(rooted: Served, tmp_path: Path, name: str) -> None:
    with client(rooted) as http:
        answer = http.post("/new-project", json={"raw": str(tmp_path / "root" / "raw"), "name": name})
    assert answer.status_code == 422
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["raw"]


def test_data_outside_of_the_roots_are_refused(rooted: Served, tmp_path: Path) -> None:
    with client(rooted) as http:
        for path in ("/etc", str(tmp_path / "levels"), str(tmp_path / "root" / ".." / "levels")):
            assert http.get("/raw.json", params={"path": path}).status_code in {404, 422}
            assert http.post("/new-project", json={"raw": path, "name": "new"}).status_code == 422
