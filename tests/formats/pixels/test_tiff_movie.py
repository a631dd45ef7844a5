"""TIFF movies of every layout: flipped, summed, and refused where they are damaged."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.movie import describe_movie, open_movie


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"compression": "zlib", "predictor": True}])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 32)}, {"rowsperstrip": 33}])
@pytest.mark.parametrize("order", ["<", ">"])
def test_reads_tiff_upside_down(tmp_path, rng, dtype, options, layout, order):
    frames = rng.integers(0, 200, (3, 33, 47)).astype(dtype)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", byteorder=order, **options, **layout)
    movie = describe_movie(path)
    assert (movie.n_frames, movie.shape_yx) == (3, (33, 47))
    opened = open_movie(movie)
    assert_array_equal(opened.read_sum(1, 3), frames[1:3].astype(np.float32).sum(0)[::-1])
    assert opened.read_sum(0, 1).dtype == np.float32
    for stop in (1, 3):
        into = np.full((33, 47), 7, opened.sum_dtype(stop))
        assert opened.read_sum(0, stop, into) is into
        assert_array_equal(into, frames[:stop].sum(0, dtype=np.float32)[::-1])


def test_a_frame_of_fewer_rows_than_threads_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("cryoloom.formats.pixels.tiff_movie.n_decoding_threads", lambda: 64)
    frames = np.arange(12, dtype=np.uint16).reshape(3, 2, 2)
    tifffile.imwrite(tmp_path / "movie.tif", frames, photometric="minisblack")
    read = open_movie(describe_movie(tmp_path / "movie.tif")).read_sum(0, 3)
    assert_array_equal(read, frames.sum(0)[::-1])


def test_reads_counts_marked_as_signed_bytes(tmp_path):
    path, counts = tmp_path / "movie.tif", np.array([[0, 127], [128, 255]], np.uint8)
    for options in ({}, {"compression": "lzw"}):
        tifffile.imwrite(path, counts.view(np.int8), **options)
        assert_array_equal(open_movie(describe_movie(path)).read_sum(0, 1), counts[::-1])


def test_a_damaged_strip_is_reported(tmp_path, rng):
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, rng.integers(0, 5, (1, 64, 64), np.uint8), compression="lzw")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 8] = b"\xff" * 8
    path.write_bytes(raw)
    with pytest.raises(DataUnfitError, match=r"bad\.tif is damaged"):
        open_movie(describe_movie(path)).read_sum(0, 1)


def test_frames_of_two_shapes_are_refused(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.zeros((16, 16), np.uint8))
        tiff.write(np.zeros((16, 24), np.uint8))
    with pytest.raises(DataUnfitError, match=r"frame 1 of mixed\.tif is laid out unlike"):
        describe_movie(path)
