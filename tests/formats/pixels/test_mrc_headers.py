"""Tilts that SerialEM and FEI write into extended headers, section by section."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import get_ext_header_dtype
from numpy.testing import assert_allclose

from cryoloom.formats.pixels.mrc import MrcPixels

TILTS = (-3.02, 0.01, 3.0)


def write_serialem(path, kind=b"SERI", flags=1, step=2, tilts=TILTS):
    """Bytes a section and flags in the header; each section's tilt in hundredths of a degree comes first."""
    header = bytearray(1024)
    header[0:16] = np.array([4, 3, len(tilts), 2], "<i4").tobytes()
    header[28:40] = np.array([4, 3, len(tilts)], "<i4").tobytes()
    header[40:64] = np.array([40, 30, 10, 90, 90, 90], "<f4").tobytes()
    header[92:96] = np.array([step * len(tilts)], "<i4").tobytes()
    header[104:108] = kind.ljust(4, b"\0")
    header[128:132] = np.array([step, flags], "<i2").tobytes()
    header[208:216] = b"MAP DD\0\0"
    extended = b"".join(np.array([round(100 * tilt)], "<i2").tobytes() + bytes(step - 2) for tilt in tilts)
    path.write_bytes(bytes(header) + extended + np.zeros((len(tilts), 3, 4), "<f4").tobytes())
    return MrcPixels(path)


@pytest.mark.parametrize("kind", [b"SERI", b""])  # without a name before MRC2014
@pytest.mark.parametrize(("flags", "step"), [(1, 2), (1 | 4 | 8, 12)])
def test_serialem(tmp_path, kind, flags, step):
    pixels = write_serialem(tmp_path / "a.mrc", kind, flags, step)
    assert_allclose(pixels.section_tilts_deg, TILTS)
    assert pixels.shape == (3, 3, 4)
    assert pixels.pixel_size_angstrom == pytest.approx(10.0)


def test_headers_without_tilts(tmp_path):
    assert write_serialem(tmp_path / "a.mrc", flags=2).section_tilts_deg is None
    assert write_serialem(tmp_path / "b.mrc", tilts=(120.0, 0.0)).section_tilts_deg is None
    with mrcfile.new(tmp_path / "c.mrc", np.zeros((3, 4, 5), np.float32)):
        pass
    assert MrcPixels(tmp_path / "c.mrc").section_tilts_deg is None


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
def test_fei(tmp_path, kind):
    fields = get_ext_header_dtype(kind, "<")
    records = np.zeros(len(TILTS), fields)
    records["Metadata size"] = fields.itemsize
    records["Alpha tilt"] = TILTS
    with mrcfile.new(tmp_path / "a.mrc", np.zeros((3, 4, 5), np.float32)) as mrc:
        mrc.set_extended_header(records)
        mrc.header.exttyp = kind
    assert_allclose(MrcPixels(tmp_path / "a.mrc").section_tilts_deg, TILTS)
