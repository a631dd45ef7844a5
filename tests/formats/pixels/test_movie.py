"""Movies: every writer's files come back as counts with row 0 at the bottom; damaged ones are told apart."""

from __future__ import annotations

import struct
from dataclasses import replace

import imagecodecs
import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.eer_writer import write_eer
from cryoloom.formats.pixels.movie import describe_movie, open_movie


def encode_events(pixels, places, n_pixels, skip_bits=7):
    """An EER frame by the format's text, bit by bit: slow, and written apart from the decoder."""
    bits: list[int] = []

    def put(value, n):
        bits.extend(value >> i & 1 for i in range(n))

    most, after = (1 << skip_bits) - 1, 0
    for pixel, place in zip([*pixels, n_pixels], [*places, 0], strict=True):
        gap = pixel - after
        while gap >= most:
            put(most, skip_bits)
            gap -= most
        put(gap, skip_bits)
        put(place, 4)
        after = pixel + 1
    bits.extend([0] * (-len(bits) % 16))
    return np.packbits(np.array(bits, np.uint8), bitorder="little").tobytes()


def write_bigtiff(path, frames, n_y, n_x, compressions):
    """A BigTIFF whose strips are given bytes."""
    data, directories, at = b"", [], 16
    for frame, compression in zip(frames, compressions, strict=True):
        directories.append(
            [(256, n_x), (257, n_y), (259, compression), (273, at + len(data)), (279, len(frame))]
        )
        data += frame
    out, at = data, 16 + len(data)
    first = at
    for i, entries in enumerate(directories):
        block = struct.pack("<Q", len(entries))
        block += b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries)
        at += len(block) + 8
        out += block + struct.pack("<Q", at if i + 1 < len(directories) else 0)
    path.write_bytes(b"II" + struct.pack("<HHHQ", 43, 8, 0, first) + out)


@pytest.fixture
def events(rng):
    """Three frames of 64 x 96: pixel indices and places within the pixel."""
    frames = [np.sort(rng.choice(64 * 96, n, replace=False)) for n in (500, 3, 900)]
    return [(pixels, rng.integers(0, 16, len(pixels))) for pixels in frames]


@pytest.fixture
def eer(tmp_path, events):
    path = tmp_path / "movie.eer"
    write_bigtiff(path, [encode_events(*frame, 64 * 96) for frame in events], 64, 96, [65001] * 3)
    return path


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


def test_sums_take_no_more_memory_than_they_need(tmp_path, eer):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, np.full((3, 8, 8), 255, np.uint8), photometric="minisblack")
    movie = open_movie(describe_movie(path))
    assert [movie.sum_dtype(n) for n in (1, 3)] == [np.uint8, np.uint16]
    assert_array_equal(movie.read_sum(0, 3, np.empty((8, 8), np.uint16)), 765)
    assert [open_movie(describe_movie(eer)).sum_dtype(n) for n in (255, 256)] == [np.uint8, np.uint16]
    with pytest.raises(ValueError, match="expected an array of shape"):
        movie.read_sum(0, 1, np.empty((4, 8), np.uint8))


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


@pytest.mark.parametrize("suffix", [".mrc", ".mrcs"])
def test_reads_mrc_as_it_is(tmp_path, rng, suffix):
    frames = rng.integers(0, 100, (4, 33, 47)).astype(np.uint16)
    path = tmp_path / f"movie{suffix}"
    mrcfile.write(path, frames)
    movie = describe_movie(path)
    assert (movie.n_frames, movie.shape_yx) == (4, (33, 47))
    assert_array_equal(open_movie(movie).read_sum(1, 4), frames[1:4].astype(np.float32).sum(0))


def test_eer_agrees_with_imagecodecs(eer, events):
    """Oracle: another program's decoder, on bits from neither."""
    opened = open_movie(describe_movie(eer))
    assert opened.shape_yx == (64, 96)
    for i, frame in enumerate(events):
        expected = imagecodecs.eer_decode(encode_events(*frame, 64 * 96), (64, 96), 7, 2, 2)
        assert_array_equal(opened.read_sum(i, i + 1), expected.astype(np.float32))
    assert opened.read_sum(0, 3).sum() == 1403


@pytest.mark.parametrize("sampling", [2, 4])
def test_eer_places_events_within_the_pixel(eer, events, sampling):
    """The top bit of each place is inverted: 2, 3, 0, 1 run from left to right and bottom to top."""
    opened = open_movie(describe_movie(eer, sampling))
    expected = np.zeros(opened.shape_yx, np.float32)
    for pixels, places in events:
        y_sub, x_sub = ((places >> 2) ^ 2) * sampling // 4, ((places & 3) ^ 2) * sampling // 4
        expected[pixels // 96 * sampling + y_sub, pixels % 96 * sampling + x_sub] += 1
    assert_array_equal(opened.read_sum(0, 3), expected)


def test_eer_of_eight_bit_runs(tmp_path, events):
    path = tmp_path / "old.eer"
    write_bigtiff(path, [encode_events(*f, 64 * 96, skip_bits=8) for f in events], 64, 96, [65000] * 3)
    read = open_movie(describe_movie(path)).read_sum(0, 1)
    assert_array_equal(np.flatnonzero(read), events[0][0])


def test_eer_sums_more_frames_than_a_byte_holds(tmp_path):
    path = tmp_path / "long.eer"
    write_bigtiff(path, [encode_events([7], [0], 256)] * 600, 16, 16, [65001] * 600)
    assert open_movie(describe_movie(path)).read_sum(0, 600)[0, 7] == 600


def test_eer_ignores_a_summed_image_among_the_frames(tmp_path, events):
    path, frame = tmp_path / "movie.eer", encode_events(*events[0], 64 * 96)
    write_bigtiff(path, [bytes(64 * 96), frame, frame], 64, 96, [1, 65001, 65001])
    movie = describe_movie(path)
    assert movie.n_frames == 2
    assert open_movie(movie).read_sum(0, 2).max() == 2


def test_eer_of_an_odd_sampling_is_refused(eer):
    with pytest.raises(UserInputError, match="power of 2 up to 4, got 3"):
        describe_movie(eer, 3)


def test_eer_with_events_beyond_the_image_is_damaged(tmp_path):
    path = tmp_path / "bad.eer"
    write_bigtiff(path, [encode_events([900], [0], 1000)], 16, 16, [65001])
    with pytest.raises(DataUnfitError, match="damaged: events of frame 0"):
        open_movie(describe_movie(path)).read_sum(0, 1)


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
    with pytest.raises(DataUnfitError, match=r"truncated|no TIFF"):
        describe_movie(path)


def test_a_damaged_strip_is_told(tmp_path, rng):
    path = tmp_path / "bad.tif"
    tifffile.imwrite(path, rng.integers(0, 5, (1, 64, 64), np.uint8), compression="lzw")
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[0].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 8] = b"\xff" * 8
    path.write_bytes(raw)
    with pytest.raises(DataUnfitError, match=r"bad\.tif is damaged"):
        open_movie(describe_movie(path)).read_sum(0, 1)


def test_another_movie_than_at_import_is_refused(tmp_path, rng):
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, rng.integers(0, 5, (4, 16, 24), np.uint8), photometric="minisblack")
    movie = describe_movie(path)
    for told in (replace(movie, n_frames=5), replace(movie, shape_yx=(24, 16))):
        with pytest.raises(DataUnfitError, match="not as it was at import") as caught:
            open_movie(told)
        assert caught.value.facts["got_frames"] == 4


@pytest.mark.parametrize(
    ("name", "says"),
    [("none.tif", "does not exist"), ("none.eer", "does not exist"), ("x.dat", "no movie format")],
)
def test_what_is_no_movie_is_refused(tmp_path, name, says):
    with pytest.raises(DataUnfitError, match=says):
        describe_movie(tmp_path / name)


def test_frames_of_two_shapes_are_refused(tmp_path):
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(np.zeros((16, 16), np.uint8))
        tiff.write(np.zeros((16, 24), np.uint8))
    with pytest.raises(DataUnfitError, match=r"frame 1 of mixed\.tif is laid out unlike"):
        describe_movie(path)


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
