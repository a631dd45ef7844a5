"""The first page: the one project at once, else all of them; files by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import client, serving
from makers.web_project import MadeProject


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "volume.mrc"
    write_mrc(path, np.zeros((4, 8, 8), dtype=np.float32), 10.0, kind="volume")
    return path


def first_page(folders: list[Path], files: list[Path], levels: Path) -> tuple[int, str, str]:
    shelf = ImageShelf(levels)
    site = Site(open_projects(folders, shelf), shelf, FilesView(files, shelf) if files else None)
    with serving(site) as served, client(served) as http:
        answer = http.get("/", headers={"accept": "text/html"})
        missing = http.get("/files/7")
        assert missing.status_code == 404
        assert missing.json()["error"] == "there is no file number 7"
    site.close()
    return answer.status_code, answer.headers.get("location", ""), answer.text


def test_one_thing_is_shown_at_once_and_several_are_listed(
    made: MadeProject, volume: Path, tmp_path: Path
) -> None:
    assert first_page([made.folder], [], tmp_path)[:2] == (303, "/p/HIV-session")
    assert first_page([], [volume], tmp_path)[:2] == (303, "/files")
    status, _, text = first_page([made.folder], [volume], tmp_path)
    assert status == 200
    assert "/p/HIV-session" in text
    assert "volume.mrc" in text
