"""Opened images and their levels: keys that change with the file, what is kept, and where levels lie."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.web.pictures import images
from cryoloom.web.pictures.images import FileOnly, ImageShelf, content_key, open_pixels
from makers.browser import eventually


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[ImageShelf]:
    shelf = ImageShelf(tmp_path / "levels")
    yield shelf
    shelf.close()


@pytest.fixture
def volume(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "a.mrc"
    write_mrc(path, rng.normal(size=(6, 20, 30)).astype(np.float32), 7.5)
    return path


def test_a_key_is_of_place_length_time_and_part(volume: Path, tmp_path: Path) -> None:
    key = content_key(volume)
    assert content_key(volume) == key
    assert len({key, content_key(volume, part="x"), content_key(volume, volume)}) == 3
    os.utime(volume, ns=(1, 1))
    assert content_key(volume) != key
    with pytest.raises(DataUnfitError, match=r"none\.mrc cannot be read: No such file"):
        content_key(volume, tmp_path / "none.mrc")


def test_an_image_is_opened_once_and_its_size_is_the_files(volume: Path, shelf: ImageShelf) -> None:
    image = shelf.image(FileOnly(volume), "volume", "a")
    assert (image.shape, image.pixel_size_angstrom) == ((6, 20, 30), 7.5)
    assert shelf.image(MrcPixels(volume), "volume", "a") is image
    assert shelf.image(FileOnly(volume), "volume", "a", how="other") is not image
    np.testing.assert_array_equal(image.pixels[2], MrcPixels(volume)[2])
    assert open_pixels(volume)[1] == 7.5
    assert (FileOnly(volume).shape, FileOnly(volume).dtype) == ((), np.float32)
    with pytest.raises(NotImplementedError, match="open the file first"):
        FileOnly(volume)[0]


def test_the_one_used_longest_ago_is_forgotten(
    volume: Path, shelf: ImageShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_MOST_OPEN", 2)
    opened = [shelf.image(FileOnly(volume), "volume", "a", how=str(i)) for i in range(3)]
    assert [shelf.opened(image.key) is image for image in opened] == [False, True, True]


def test_levels_are_made_in_the_background_and_found_again(
    volume: Path, shelf: ImageShelf, tmp_path: Path
) -> None:
    image = shelf.image(FileOnly(volume), "volume", "a")
    assert shelf.levels(image) is None
    assert 0.0 <= shelf.prepare(image) < 1.0
    assert eventually(lambda: shelf.prepare(image), lambda part: part == 1.0) == 1.0
    other = ImageShelf(tmp_path / "levels")
    assert other.levels(other.image(FileOnly(volume), "volume", "a")) is not None
    other.close()


def test_levels_that_cannot_be_made_say_why_and_are_tried_again(
    volume: Path, shelf: ImageShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = images.make_levels

    def broken(*given: object) -> None:
        raise DataUnfitError("the disk went away")

    monkeypatch.setattr(images, "make_levels", broken)
    image = shelf.image(FileOnly(volume), "volume", "a")

    def failure() -> str:
        try:
            shelf.prepare(image)
        except DataUnfitError as error:
            return str(error)
        return ""

    assert eventually(failure) == "the disk went away"
    monkeypatch.setattr(images, "make_levels", made)
    assert eventually(lambda: shelf.prepare(image), lambda part: part == 1.0) == 1.0


def test_levels_lie_in_the_project_or_with_the_user(
    tmp_path: Path, shelf: ImageShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shelf.levels_folder("k", tmp_path) == tmp_path / "levels" / "k"
    own = ImageShelf()
    assert own.levels_folder("k", tmp_path) == tmp_path / "cache" / "levels" / "k"
    monkeypatch.setattr(images.os, "access", lambda *given: False)
    assert own.levels_folder("k", tmp_path).parts[-3:] == ("cryoloom", "levels", "k")
    assert own.levels_folder("k", None) == own.levels_folder("k", tmp_path)
    own.close()


def test_levels_of_what_was_asked_for_last_are_made_first(
    volume: Path, shelf: ImageShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is begun at once; of those that wait the one asked for last, or once more, comes next."""
    is_released, made = threading.Event(), []

    def slow(pixels: object, folder: Path, *_: object) -> None:
        made.append(folder.name)
        is_released.wait(20)

    monkeypatch.setattr(images, "make_levels", slow)
    opened = [shelf.image(FileOnly(volume), "volume", "a", how=str(i)) for i in range(4)]
    for image in opened:
        assert shelf.prepare(image) == 0.0
        eventually(lambda: made)
    shelf.prepare(opened[1])
    is_released.set()
    eventually(lambda: len(made) == 4)
    assert made == [opened[i].key for i in (0, 1, 3, 2)]


def test_pictures_come_before_levels(
    volume: Path, shelf: ImageShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a picture is made, each section of levels waits, but only for a limited time."""
    monkeypatch.setattr(images, "_LONGEST_PAUSE_SECONDS", 3600.0)
    image = shelf.image(FileOnly(volume), "volume", "a")
    with shelf.making_picture():
        for _ in range(5):
            assert shelf.prepare(image) == 0.0
            time.sleep(0.1)
    assert eventually(lambda: shelf.prepare(image), lambda part: part == 1.0) == 1.0

    monkeypatch.setattr(images, "_LONGEST_PAUSE_SECONDS", 0.02)
    other = shelf.image(FileOnly(volume), "volume", "a", how="again")
    with shelf.making_picture():
        assert eventually(lambda: shelf.prepare(other), lambda part: part == 1.0) == 1.0
