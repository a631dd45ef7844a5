"""What a server shows: projects by their names in addresses, and pages whose values are text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cryoloom.errors import UserInputError
from cryoloom.store.database import Database
from cryoloom.store.names import FILE_NAME
from cryoloom.web.pictures.images import ImageShelf
from cryoloom.web.roots import Roots
from cryoloom.web.site import RAIL, Site, open_projects


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[ImageShelf]:
    shelf = ImageShelf(tmp_path / "levels")
    yield shelf
    shelf.close()


def a_project(folder: Path) -> Path:
    folder.mkdir(parents=True)
    Database.create(folder).close()
    return folder


def test_projects_have_short_names_of_their_own(tmp_path: Path, shelf: ImageShelf) -> None:
    folders = [
        a_project(tmp_path / place) for place in ("a/My session (2)", "b/My session (2)", "c/project", "d/äö")
    ]
    opened = open_projects(folders, shelf)
    assert list(opened) == ["My-session-2", "My-session-2-2", "c", "project"]
    assert [view.folder for view in opened.values()] == folders
    for view in opened.values():
        view.close()


def test_a_folder_that_is_no_project_is_reported(tmp_path: Path, shelf: ImageShelf) -> None:
    with pytest.raises(UserInputError, match=f"it holds no {FILE_NAME}"):
        open_projects([tmp_path], shelf)


def test_a_project_is_made_and_shown_from_then_on(tmp_path: Path) -> None:
    shelf = ImageShelf(tmp_path / "levels")
    site = Site({}, shelf, roots=Roots((tmp_path,)))
    slug = site.make_project(tmp_path / "new one")
    assert slug == "new-one"
    project = site.project(slug)
    assert project.series_names() == ()
    assert (tmp_path / "new one" / FILE_NAME).is_file()
    assert site.root_names() == [str(tmp_path)]
    assert site.watcher(project) is site.watcher(project)
    assert site.review(project) is site.review(project)
    with pytest.raises(UserInputError, match="no project 'other'"):
        site.project("other")
    site.close()


def test_every_page_of_the_rail_has_an_address_and_a_key_of_its_own() -> None:
    for column in (0, 1, 2, 3):
        values = [entry[column] for entry in RAIL]
        assert len(set(values)) == len(values)
