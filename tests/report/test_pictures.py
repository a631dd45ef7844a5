"""Pictures are made once and again only where what they show has changed."""

from dataclasses import replace

import numpy as np
import pytest

import cryoloom.report.pictures as pictures
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Stack, Tilt, TiltSeries, Tomogram
from cryoloom.report.pictures import PictureCache, make_pictures
from cryoloom.views.content import SeriesReport


def stored(path, values, kind="stack"):
    sink = MrcSink(path, values.shape, 5.0, "float32", kind=kind)
    sink[:] = values
    sink.commit()
    return MrcPixels(path)


@pytest.fixture
def item(tmp_path, rng):
    images = stored(tmp_path / "images.mrc", rng.normal(size=(3, 80, 96)).astype(np.float32))
    volume = stored(tmp_path / "tomogram.mrc", rng.normal(size=(12, 40, 48)).astype(np.float32), "volume")
    ctf = Ctf(3e4, 2.9e4, 0.0)
    tilts = tuple(Tilt(i, 3.0 * i, 0.0, 3.0, section=i, ctf=ctf, pose=Pose(85.0, 3.0 * i)) for i in range(3))
    series = TiltSeries("TS_01", Microscope(), 5.0, tilts, stack=Stack(images, 5.0))
    return SeriesReport("TS_01", series, Tomogram(series, volume, 10.0))


@pytest.fixture
def made(monkeypatch):
    """How often pictures were made."""
    times = []

    def count(item, tilts=None):
        times.append(item.name)
        return make_pictures(item, tilts)

    monkeypatch.setattr(pictures, "make_pictures", count)
    return times


def test_kept_pictures_are_the_made_ones(tmp_path, item, made):
    first, second = (PictureCache(tmp_path / "cache").get(item) for _ in range(2))
    assert first == second
    assert made == ["TS_01"]
    assert [one.acquisition_index for one in first.tilts] == [0, 1, 2]
    assert first.tilts[0].spectrum_has_fit
    assert first.loop.startswith("data:image/webp")
    assert len(first.tomogram.layers) == len(first.tomogram.layer_heights_angstrom)


@pytest.mark.parametrize("change", ["pose", "exclusion", "file", "nothing", "broken cache"])
def test_a_changed_series_is_pictured_again(tmp_path, item, made, change, rng):
    cache = PictureCache(tmp_path / "cache")
    cache.get(item)
    if change in ("pose", "exclusion"):
        new = {"pose": Pose(86.0, 0.0), "exclusion": Exclusion.by_user("bad")}[change]
        series = item.series.with_tilts({0: {change: new}})
        item = replace(item, series=series)
    if change == "file":
        stored(tmp_path / "images.mrc", rng.normal(size=(3, 80, 96)).astype(np.float32))
    if change == "broken cache":
        (tmp_path / "cache" / "TS_01.json").write_text("{}")
    cache.get(item)
    assert len(made) == (1 if change == "nothing" else 2)


@pytest.mark.parametrize(
    ("change", "n_made"), [("pose", 1), ("exclusion", 1), ("ctf", 2), ("file", 2), ("broken cache", 2)]
)
def test_another_alignment_does_not_picture_the_tilts_again(tmp_path, item, monkeypatch, change, n_made, rng):
    looked_at = []
    pictured = pictures.pictured_tilts
    monkeypatch.setattr(
        pictures, "pictured_tilts", lambda series: looked_at.append(series.name) or pictured(series)
    )
    cache = PictureCache(tmp_path / "cache")
    before = cache.get(item)
    new = {"pose": Pose(86.0, 0.0), "exclusion": Exclusion.by_user("bad"), "ctf": Ctf(4e4, 3.9e4, 0.0)}
    if change in new:
        item = replace(item, series=item.series.with_tilts({0: {change: new[change]}}))
    else:
        (tmp_path / "cache" / "TS_01.json").unlink()
    if change == "file":
        stored(tmp_path / "images.mrc", rng.normal(size=(3, 80, 96)).astype(np.float32))
    if change == "broken cache":
        (tmp_path / "cache" / "TS_01.tilts").write_bytes(b"PK\x03\x04 cut")
    after = cache.get(item)
    assert len(looked_at) == n_made
    assert (after.tilts == before.tilts) == (change not in ("ctf", "file"))
    assert (after.loop != before.loop) == (change in ("pose", "exclusion", "file"))


def test_pictures_of_images_that_were_removed_to_save_space_are_still_shown(tmp_path, item):
    cache = PictureCache(tmp_path / "cache")
    before = cache.get(item)
    (tmp_path / "images.mrc").unlink()
    assert cache.get(item) == before
    assert len(before.tilts) == 3


def test_the_preview_alone_is_read_from_a_small_file(tmp_path, item, made):
    cache = PictureCache(tmp_path / "cache")
    whole = cache.get(item)
    assert cache.preview(item) == whole.tomogram.preview
    (tmp_path / "cache" / "TS_01.json").unlink()
    assert cache.preview(item) == whole.tomogram.preview
    assert made == ["TS_01"]
    (tmp_path / "cache" / "TS_01.preview").unlink()
    assert cache.preview(item) == whole.tomogram.preview
    assert made == ["TS_01", "TS_01"]


def test_pixels_that_are_in_no_file_are_pictured_without_a_cache(tmp_path, item, made):
    item = replace(item, tomogram=replace(item.tomogram, volume=np.zeros((4, 8, 8), np.float32)))
    PictureCache(tmp_path / "cache").get(item)
    assert not (tmp_path / "cache").exists()


def test_pictures_of_series_that_are_gone_are_removed(tmp_path, item):
    cache = PictureCache(tmp_path / "cache")
    cache.get(item)
    cache.forget_others(["TS_02"])
    assert list((tmp_path / "cache").iterdir()) == []
