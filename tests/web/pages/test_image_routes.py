"""Addresses of pictures: what they hold, how long they may be kept, and what is refused."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import httpx
import numpy as np
import PIL.Image
import pytest

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.site import Site, open_projects
from makers.browser import Served, client, eventually, serving
from makers.web_project import VOLUME_SHAPE, MadeProject

P = "/p/HIV-session"


@pytest.fixture(scope="module")
def base(served: Served) -> str:
    project = served.site.project("HIV-session")
    return f"{P}/image/{project.series('TS_01').tomograms[-1].item.id}/volume"


def facts(http: httpx.Client, base: str) -> dict:
    return eventually(lambda: http.get(f"{base}/info.json").json(), lambda found: found.get("ready", False))


def test_slices_have_the_sides_of_their_axis_and_are_kept_for_ever(served: Served, base: str) -> None:
    n_z, n_y, n_x = VOLUME_SHAPE
    with client(served) as http:
        key = facts(http, base)["key"]
        for axis, sides in (("z", (n_x, n_y)), ("y", (n_x, n_z)), ("x", (n_z, n_y))):
            answer = http.get(f"{base}/{key}/0/{axis}/20.jpg?n=3")
            assert PIL.Image.open(io.BytesIO(answer.content)).size == sides
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers.get("content-encoding") is None
            low, high = map(float, answer.headers["x-range"].split(","))
            assert low < high
        strip = http.get(f"{base}/{key}/0/z/strip/4.jpg?count=5")
        assert len(strip.headers["x-ranges"].split(";")) == 5


def test_a_value_is_that_of_the_file(served: Served, base: str) -> None:
    with client(served) as http:
        key = facts(http, base)["key"]
        value = float(http.get(f"{base}/{key}/value?z=10&y=20&x=30").json()["value"])
    image = served.site.project("HIV-session").image(int(base.split("/")[4]), "volume")
    assert value == pytest.approx(float(np.asarray(image.pixels[10])[20, 30]), rel=1e-6)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("0/z/9999.jpg", 404),
        ("0/z/-1.jpg", 404),
        ("0/w/1.jpg", 422),
        ("9/z/1.jpg", 404),
        ("0/z/1.jpg?n=0", 422),
        ("0/z/1.jpg?q=100", 422),
        ("0/z/1.jpg?lo=nan&hi=1", 422),
        ("0/z/strip/1.jpg?count=65", 422),
        ("value?z=999&y=0&x=0", 404),
        ("oblique.jpg?x=1&y=1&z=1&w=100&h=100&step=0", 422),
        ("oblique.jpg?x=1&y=1&z=1&w=100000&h=100000&step=1", 404),
    ],
)
def test_what_is_not_there_is_refused_with_a_sentence(
    served: Served, base: str, path: str, status: int
) -> None:
    with client(served) as http:
        key = facts(http, base)["key"]
        answer = http.get(f"{base}/{key}/{path}")
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True), answer.text


def test_a_file_that_was_written_anew_has_a_new_address(made: MadeProject, tmp_path: Path) -> None:
    folder = tmp_path / "HIV session"
    shutil.copytree(made.folder, folder)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site(open_projects([folder], shelf), shelf)
    item = site.project("HIV-session").series("TS_01").tomograms[-1].item
    with serving(site) as served, client(served) as http:
        base = f"{P}/image/{item.id}/volume"
        key = facts(http, base)["key"]
        os.utime(folder / item.files[0].path, ns=(1, 1))
        assert http.get(f"{base}/info.json").json()["key"] != key
        answer = http.get(f"{base}/{key}/0/z/1.jpg")
        assert answer.status_code == 422
        assert answer.json()["error"].endswith("was rewritten; load the page again")
    site.close()


def test_thumbnails_of_large_tilts_come_with_the_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, each would read its whole tilt; those of small ones come at once."""
    for name, side in (("large", 800), ("small", 200)):
        write_mrc(tmp_path / f"{name}.st", np.ones((3, side, side), np.float32), 2.0, kind="stack")
    monkeypatch.setattr(ImageShelf, "levels", lambda self, image: None)
    shelf = ImageShelf(tmp_path / "levels")
    site = Site({}, shelf, FilesView([tmp_path / "large.st", tmp_path / "small.st"], shelf))
    with serving(site) as served, client(served) as http:
        for number, status in ((0, 202), (1, 200)):
            base = f"/files/image/{number}/image"
            key = http.get(f"{base}/info.json").json()["key"]
            assert http.get(f"{base}/{key}/thumb/1.jpg").status_code == status
    site.close()
