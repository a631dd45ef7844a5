"""Movies: every writer's files come back as counts with row 0 at the bottom; damaged ones are recognised."""

from __future__ import annotations

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.eer_writer import write_eer
from cryoloom.formats.pixels.movie import describe_movie, open_movie
from makers.eer_files import eer, events

__all__ = ["eer", "events"]


def test_sums_take_no_more_memory_than_they_need(tmp_path, eer):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.full((3, 8, 8), 255, np.uint8), photometric="minisblack")
    movie = open_movie(describe_movie(path))
    assert [movie.sum_dtype(n) for n in (1, 3)] == [np.uint8, np.uint16]
    assert_array_equal(movie.read_sum(0, 3, np.empty((8, 8), np.uint16)), 765)
    assert [open_movie(describe_movie(eer)).sum_dtype(n) for n in (255, 256)] == [np.uint8, np.uint16]
    with pytest.raises(ValueError, match="expected an array of shape"):
        movie.read_sum(0, 1, np.empty((4, 8), np.uint8))


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs"])
def test_reads_mrc_as_it_is(tmp_path, rng, suffix):
    frames = rng.integers(0, 100, (4, 33, 47)).astype(np.uint16)
    path = tmp_path / f"movie{suffix}"
    mrcfile.write(path, frames)
    movie = describe_movie(path)
    assert (movie.n_frames, movie.shape_yx) == (4, (33, 47))
    assert_array_equal(open_movie(movie).read_sum(1, 4), frames[1:4].astype(np.float32).sum(0))


@pytest.mark.parametrize("cut", [8, 300, 2000, -20, -1])
@pytest.mark.parametrize("kind", ["tif", "eer"])
def test_truncated_movies_are_refused(tmp_path, rng, eer, kind, cut):
    path = tmp_path / f"cut.{kind}"
    if kind == "tif":
        tifffile.imwrite(
            path, rng.integers(0, 5, (4, 64, 64), np.uint8), photometric="minisblack", compression="lzw"
        )
    else:
        path.write_bytes(eer.read_bytes())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataUnfitError, match=r"truncated|not a TIFF"):
        describe_movie(path)


def test_another_movie_than_at_import_is_refused(tmp_path, rng):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, rng.integers(0, 5, (4, 16, 24), np.uint8), photometric="minisblack")
    movie = describe_movie(path)
    for wrong in (replace(movie, n_frames=5), replace(movie, shape_yx=(24, 16))):
        with pytest.raises(DataUnfitError, match="changed since the import") as caught:
            open_movie(wrong)
        assert caught.value.facts["got_frames"] == 4


@pytest.mark.parametrize(
    ("name", "says"),
    [("none.tif", "does not exist"), ("none.eer", "does not exist"), ("x.dat", "not a movie format")],
)
def test_what_is_no_movie_is_refused(tmp_path, name, says):
    with pytest.raises(DataUnfitError, match=says):
        describe_movie(tmp_path / name)


def test_reads_what_our_writer_wrote(tmp_path, rng):
    """Round trip: events on the grid of quarter pixels, not flipped."""
    events = [rng.integers(0, (4 * 32, 4 * 48), (300, 2)) for _ in range(3)]
    path = tmp_path / "movie.eer"
    write_eer(path, events, (32, 48), dose_per_angstrom2=1.0, pixel_size_angstrom=1.5)
    expected = np.zeros((2 * 32, 2 * 48), np.float32)
    for frame in events:
        _, first = np.unique(frame[:, 0] // 4 * 48 + frame[:, 1] // 4, return_index=True)
        np.add.at(expected, tuple(frame[first].T // 2), 1)
    assert_array_equal(open_movie(describe_movie(path, 2)).read_sum(0, 3), expected)
