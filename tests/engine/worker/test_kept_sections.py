"""Stacks of series that grow: written once in place, found again after a crash, never over a result."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cryoloom.engine.worker.kept_sections import GrowingSink, KeptSections, KeyedSink, places_of
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc

SHAPE_YX = (6, 8)
PIXEL = 1.35


@pytest.fixture
def images(rng):
    return rng.poisson(9.0, (5, *SHAPE_YX)).astype(np.float32) + 0.5


@pytest.fixture
def kept(tmp_path):
    return KeptSections(tmp_path / "cache", "images")


def grow(kept, images, sections, *, n_places=5, first=0, keys=None, dtype="float16"):
    """The series with these sections of the whole: those that are missing are written."""
    keys = [f"key {i}" for i in sections] if keys is None else keys
    sink = GrowingSink(
        "images", (len(sections), *SHAPE_YX), PIXEL, dtype, keys, kept, n_places=n_places, first=first
    )
    written = [i for i in range(len(sections)) if not sink.holds(i)]
    for i in written:
        sink[i] = images[sections[i]]
        sink.keep(i, f"key {sections[i]}")
    places = [sink.place(i) for i in range(len(sections))]
    sink.close()
    return [sections[i] for i in written], places


def complete(kept, tmp_path, images, keys=None, dtype="float16"):
    """The whole stack; which sections were there, and whether the file was taken as it is."""
    path = tmp_path / "run" / "images.mrc"
    path.parent.mkdir(exist_ok=True)
    keys = [f"key {i}" for i in range(len(images))] if keys is None else keys
    before = kept.path.stat().st_ino if kept.path.exists() else None
    gated, sink = KeyedSink.begun("images", path, images.shape, PIXEL, dtype, keys, kept)
    there = [i for i in range(len(images)) if gated.holds(i)]
    for i in set(range(len(images))) - set(there):
        gated[i] = images[i]
    gated.check()
    sink.commit()
    return there, path.stat().st_ino == before


def as_in_a_batch(tmp_path, images, dtype="float16"):
    return write_mrc(tmp_path / "batch.mrc", images, PIXEL, dtype=dtype).path.read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_stack_that_grew_to_both_sides_becomes_the_result_without_a_copy(tmp_path, kept, images, dtype):
    for sections in ([2], [2, 3], [1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4]):
        made, places = grow(kept, images, sections, first=2 - sections.index(2), dtype=dtype)
        assert len(made) == 1
        assert places == sections
    there, in_place = complete(kept, tmp_path, images, dtype=dtype)
    assert there == [0, 1, 2, 3, 4]
    assert in_place
    assert (tmp_path / "run" / "images.mrc").read_bytes() == as_in_a_batch(tmp_path, images, dtype)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["images.mrc"]


def test_images_at_other_places_are_copied(tmp_path, kept, images):
    grow(kept, images, [2, 3], first=0)  # the first was expected to be the lowest
    _, places = grow(kept, images, [0, 1, 2, 3, 4], first=0)
    assert sorted(places) != places
    there, in_place = complete(kept, tmp_path, images)
    assert there == [0, 1, 2, 3, 4]
    assert not in_place
    assert (tmp_path / "run" / "images.mrc").read_bytes() == as_in_a_batch(tmp_path, images)


def test_fewer_tilts_than_expected_leave_no_empty_places(tmp_path, kept, images):
    grow(kept, images, [0, 1, 2], n_places=40)
    there, in_place = complete(kept, tmp_path, images[:3])
    assert there == [0, 1, 2]
    assert in_place
    assert (tmp_path / "run" / "images.mrc").read_bytes() == as_in_a_batch(tmp_path, images[:3])


def test_more_tilts_than_expected_find_places(tmp_path, kept, images):
    grow(kept, images, [0, 1], n_places=2)
    grow(kept, images, [0, 1, 2, 3, 4], n_places=2)
    there, in_place = complete(kept, tmp_path, images)
    assert there == [0, 1, 2, 3, 4]
    assert in_place


def test_the_stack_can_be_read_while_it_grows(kept, images):
    _, places = grow(kept, images, [1, 2], first=1)
    pixels = MrcPixels(kept.path)
    assert pixels.shape == (5, *SHAPE_YX)
    np.testing.assert_allclose(pixels[places[1]], images[2], rtol=1e-3)


def test_an_image_without_its_note_is_made_again(tmp_path, kept, images):
    grow(kept, images, [0, 1, 2, 3, 4])
    (kept.path.with_suffix(".sections") / "3.npz").write_bytes(b"cut")  # killed while it was written
    there, _ = complete(kept, tmp_path, images)
    assert there == [0, 1, 2, 4]
    assert (tmp_path / "run" / "images.mrc").read_bytes() == as_in_a_batch(tmp_path, images)


def test_an_image_that_is_made_anew_is_forgotten_first(tmp_path, kept, images):
    grow(kept, images, [0, 1, 2, 3, 4])
    path = tmp_path / "run" / "images.mrc"
    path.parent.mkdir()
    keys = [f"key {i}" for i in range(5)]
    gated, sink = KeyedSink.begun("images", path, images.shape, PIXEL, "float16", keys, kept)
    gated[3] = images[0]  # then the worker is killed
    sink.discard()
    assert set(kept.found(SHAPE_YX, "float16")) == {0, 1, 2, 4}
    assert not path.exists()
    assert complete(kept, tmp_path, images)[0] == [0, 1, 2, 4]


def test_a_file_that_became_a_result_is_not_written_to(tmp_path, kept, images):
    grow(kept, images, [0, 1, 2, 3, 4])
    complete(kept, tmp_path, images)  # and the process is killed before the cache is removed
    result = (tmp_path / "run" / "images.mrc").read_bytes()
    made, _ = grow(kept, 2 * images, [0, 1, 2, 3, 4], keys=[None] * 5)
    assert made == [0, 1, 2, 3, 4]
    assert (tmp_path / "run" / "images.mrc").read_bytes() == result
    os.remove(tmp_path / "run" / "images.mrc")


def test_kept_images_survive_where_files_have_one_name_only(tmp_path, kept, images, monkeypatch):
    grow(kept, images, [0, 1, 2, 3, 4])

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    there, in_place = complete(kept, tmp_path, images)
    assert there == [0, 1, 2, 3, 4]
    assert not in_place
    assert (tmp_path / "run" / "images.mrc").read_bytes() == as_in_a_batch(tmp_path, images)


def test_another_type_or_size_finds_nothing(tmp_path, kept, images):
    grow(kept, images, [0, 1, 2, 3, 4])
    assert kept.found(SHAPE_YX, "float32") == {}
    assert kept.found((6, 9), "float16") == {}
    assert complete(kept, tmp_path, images, dtype="float32")[0] == []


def test_a_better_guess_moves_few_images(kept, images):
    grow(kept, images, [2], first=0)
    made, places = grow(kept, images, [1, 2, 3], first=1)
    assert made == places == [1, 2, 3]


def test_an_image_that_is_not_finite_is_not_kept(kept, images):
    images[1, 2, 2] = np.nan
    grow(kept, images, [0, 1], dtype="float32")
    assert set(kept.found(SHAPE_YX, "float32")) == {0}


@pytest.mark.parametrize(
    ("keys", "there", "first", "places"),
    [
        (["a", "b"], {}, 7, [7, 8]),
        (["a", "b", None], {"a": 3, "b": 4}, 0, [3, 4, 5]),
        ([None, "a", None], {"a": 3}, 0, [2, 3, 4]),
        ([None, "a"], {"a": 0}, 0, [1, 0]),
        (["a", None, "b"], {"a": 3, "b": 4}, 0, [3, 5, 4]),
    ],
    ids=["none yet", "above", "both sides", "no room below", "between"],
)
def test_places_follow_the_order_as_far_as_there_is_room(keys, there, first, places):
    assert places_of(keys, there, first) == places
