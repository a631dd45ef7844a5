"""Pages of TIFF and BigTIFF files, and files that were cut, whatever their names say."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.tiff_directories import byte_order, read_directories


@pytest.fixture(
    params=[("<", False), (">", False), ("<", True), (">", True)], ids=["II", "MM", "big", "bigMM"]
)
def movie(request, tmp_path):
    """Three pages of 6 x 9, in two strips each."""
    order, is_big = request.param
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path, bigtiff=is_big, byteorder=order) as file:
        for _ in range(3):
            file.write(np.arange(54, dtype=np.uint16).reshape(6, 9), rowsperstrip=3, contiguous=False)
    return path, order


def test_pages_are_found_in_both_byte_orders_and_sizes(movie):
    path, order = movie
    pages = read_directories(path)
    assert byte_order(path) == order
    assert [page.shape_yx for page in pages] == [(6, 9)] * 3
    assert {page.compression for page in pages} == {1}
    assert not any(page.is_reduced for page in pages)
    raw = path.read_bytes()
    offset, n_bytes = pages[1].segments[1]
    np.testing.assert_array_equal(
        np.frombuffer(raw[offset : offset + n_bytes], order + "u2"), np.arange(27, 54)
    )


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_cut_file_is_truncated_and_not_short(movie, kept):
    path, _ = movie
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept * len(raw))])
    with pytest.raises(DataUnfitError, match=r"movie.tif is truncated; copy it again"):
        read_directories(path)


def test_directories_in_a_circle_are_damaged(tmp_path):
    path = tmp_path / "circle.tif"
    entry = struct.pack("<HHII", 256, 4, 1, 9)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8))
    with pytest.raises(DataUnfitError, match="run in a circle at page 1"):
        read_directories(path)


def test_other_files_and_missing_ones_are_reported(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"MRC or text")
    with pytest.raises(DataUnfitError, match=r"a.tif is not a TIFF file, despite its name"):
        read_directories(tmp_path / "a.tif")
    with pytest.raises(DataUnfitError, match="does not exist"):
        read_directories(tmp_path / "none.tif")
