"""Byte conventions by the numbers themselves: whatever flags a program wrote, counts are read as counts."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.formats.pixels.mrc import MrcPixels

IMOD = 1146047817


def write(path, values, mode, *, order="<", data_order=None, stamp=None):
    """An MRC file as another program writes it: header in one byte order, numbers in this or another."""
    header = bytearray(1024)
    n_z, n_y, n_x = values.shape
    header[0:40] = np.array([n_x, n_y, n_z, mode, 0, 0, 0, n_x, n_y, n_z], f"{order}i4").tobytes()
    header[40:64] = np.array([n_x, n_y, n_z, 90, 90, 90], f"{order}f4").tobytes()
    header[64:76] = np.array([1, 2, 3], f"{order}i4").tobytes()
    if stamp is not None:
        header[152:160] = np.array([IMOD, stamp], f"{order}i4").tobytes()
    header[208:216] = b"MAP DD\0\0" if order == "<" else b"MAP \x11\x11\0\0"
    body = values.astype(values.dtype.newbyteorder(data_order or order))
    path.write_bytes(bytes(header) + body.tobytes())
    return path


@pytest.mark.parametrize(
    ("level", "dtype", "mode", "stamp"),
    [
        (120, np.uint8, 0, None),  # unsigned without a stamp, as programs before 2011 wrote it
        (120, np.uint8, 0, 0),  # IMOD, unsigned
        (120, np.uint8, 0, 1),  # IMOD's flag says signed, the numbers do not
        (5, np.int8, 0, None),
        (5, np.int8, 0, 1),
        (0, np.int8, 0, 0),  # IMOD's flag says unsigned, the numbers have a mean of 0
        (3, np.uint8, 0, None),  # movies: the same either way
        (32700, np.uint16, 1, None),  # counts of a Falcon in mode 1, beyond the half of the range
        (400, np.int16, 1, None),
        (0, np.int16, 1, None),
        (0, np.int16, 6, None),
        (32700, np.uint16, 6, None),
    ],
)
def test_counts_are_read_whatever_the_flags_say(tmp_path, rng, level, dtype, mode, stamp):
    spread = 12 if np.dtype(dtype).itemsize == 1 else 2000
    noise = np.round(rng.normal(level, min(spread, max(1, level / 3)) if level else spread, (2, 64, 80)))
    values = np.clip(noise, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    pixels = MrcPixels(write(tmp_path / "a.mrc", values, mode, stamp=stamp))
    assert_array_equal(pixels[...], values.astype(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("data_order", ["<", ">"])
@pytest.mark.parametrize(("dtype", "mode"), [(np.int16, 1), (np.uint16, 6), (np.float32, 2)])
def test_bytes_in_the_other_order_than_the_header(tmp_path, rng, order, data_order, dtype, mode):
    values = rng.poisson(60, (2, 64, 80)).astype(dtype)
    pixels = MrcPixels(write(tmp_path / "a.mrc", values, mode, order=order, data_order=data_order))
    assert_array_equal(pixels[...], values.astype(np.float32))
    assert bool(pixels.note) is (order != data_order)


def test_images_of_few_or_constant_values_are_left_alone(tmp_path):
    for values in (
        np.zeros((1, 8, 8), np.int16),
        np.full((1, 64, 64), 256, np.int16),
        np.ones((1, 4, 4), np.int8),
    ):
        path = write(tmp_path / "a.mrc", values, 1 if values.itemsize == 2 else 0)
        assert_array_equal(MrcPixels(path)[...], values)
