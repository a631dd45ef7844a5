"""DM3 and DM4 files: the tag tree and the image, of DigitalMicrograph's own files and of made ones."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.dm4 import DmArray, read_dm_image, read_dm_tags


def test_dm4_of_digital_micrograph(data):
    tags = read_dm_tags(data / "gain" / "test-1.dm4")
    image = read_dm_image(data / "gain" / "test-1.dm4")
    dimensions = list(tags["ImageList"].values())[-1]["ImageData"]["Dimensions"]
    assert image.shape == tuple(dimensions.values())[::-1]
    assert_array_equal(image, [[3, 4], [1, 2]])  # DigitalMicrograph shows 1 2 above 3 4


def test_dm4_that_is_none(tmp_path):
    for content in (b"", b"\0\0\0\4" + bytes(30), bytes(100)):
        (tmp_path / "gain.dm4").write_bytes(content)
        with pytest.raises(DataUnfitError, match=r"gain\.dm4"):
            read_dm_image(tmp_path / "gain.dm4")


def name_of(tag):
    return struct.pack(">H", len(tag)) + tag.encode("latin-1")


def dm_file(path, version, image, *, thumbnail=None, cut=0):
    """A DM3 or DM4 file with images as DigitalMicrograph nests them, written by the format's description."""
    number = ">q" if version == 4 else ">i"

    def n(value):
        return struct.pack(number, value)

    def tag(kind, name, content):
        size = n(len(content)) if version == 4 else b""
        return struct.pack(">B", kind) + name_of(name) + size + content

    def group(*tags):
        return b"\1\0" + n(len(tags)) + b"".join(tags)

    def leaf(name, info, raw):
        return tag(21, name, b"%%%%" + n(len(info)) + b"".join(n(i) for i in info) + raw)

    def image_tags(values):
        kinds = {"f": 6, "i": 2, "u": 4}
        raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
        sizes = [leaf("", [5], struct.pack("<I", size)) for size in values.shape[::-1]]
        data = leaf("Data", [20, kinds[values.dtype.kind], values.size], raw)
        return tag(20, "ImageData", group(data, tag(20, "Dimensions", group(*sizes))))

    images = [one for one in (thumbnail, image) if one is not None]
    nested = [tag(20, "", group(image_tags(one))) for one in images]
    label = "a name".encode("utf-16-le")
    pair = leaf("Pair", [15, 0, 2, 0, 3, 0, 3], struct.pack("<ii", 4, -7))
    root = group(
        tag(20, "ImageList", group(*nested)), leaf("Label", [18, len(label)], label), pair,
        leaf("Scale", [7], struct.pack("<d", 0.25)),
    )  # fmt: skip
    whole = struct.pack(">i", version) + n(len(root)) + struct.pack(">i", 1) + root
    path.write_bytes(whole[: len(whole) - cut])
    return path


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("shape", [(3, 5), (90, 71)])  # arrays of more than 4096 stay in the file at first
@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint16])
def test_the_last_image_comes_with_its_bottom_row_first(tmp_path, version, shape, dtype, rng):
    image = rng.integers(0, 100, shape).astype(dtype)
    path = dm_file(tmp_path / f"a.dm{version}", version, image, thumbnail=np.zeros((2, 2), np.float32))
    found = read_dm_image(path)
    assert found.dtype == np.float32
    assert_array_equal(found, image[::-1])
    tags = read_dm_tags(path)
    assert (tags["Label"], tags["Scale"], tags["Pair"]) == ("a name", 0.25, (4, -7))
    kept = tags["ImageList"]["1"]["ImageData"]["Data"]
    assert isinstance(kept, DmArray) == (image.size > 4096)


def test_a_file_that_ends_early_or_holds_no_image_is_refused(tmp_path):
    image = np.ones((90, 71), np.float32)
    with pytest.raises(DataUnfitError, match=r"a\.dm4"):
        read_dm_image(dm_file(tmp_path / "a.dm4", 4, image, cut=20_000))
    with pytest.raises(DataUnfitError, match=r"b\.dm4 holds no image"):
        read_dm_image(dm_file(tmp_path / "b.dm4", 4, None))
    with pytest.raises(DataUnfitError, match="does not exist"):
        read_dm_image(tmp_path / "c.dm4")
