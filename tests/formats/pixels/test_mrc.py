"""MRC: what mrcfile writes is read, what we write mrcfile reads, and nothing half-made gets a name."""

from __future__ import annotations

import errno
import os
import pickle

import mrcfile
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink, write_mrc


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_reads_every_mode_in_both_byte_orders(tmp_path, rng, dtype, order):
    path, values = tmp_path / "stack.mrc", rng.integers(0, 100, (3, 5, 7)).astype(dtype)
    with mrcfile.new(path) as mrc:
        mrc.set_data(values.astype(np.dtype(dtype).newbyteorder(order)))
        mrc.voxel_size = 2.5
    pixels = MrcPixels(path)
    assert (pixels.shape, pixels.dtype) == ((3, 5, 7), np.dtype(dtype))
    assert pixels.pixel_size_angstrom == pytest.approx(2.5)
    read = pixels[...]
    assert read.dtype == np.float32
    assert read.dtype.isnative
    assert_array_equal(read, values.astype(np.float32))


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.s_[1:3],
        np.s_[:, 2:4],
        np.s_[:, ::-1, 1:6:2],
        np.s_[..., 3],
        np.s_[2, 4, 6],
        np.s_[::-1, ::-2, ::-3],
        np.s_[1, ..., 2:2],
        ...,
    ],
)
def test_slices_as_numpy_does(tmp_path, rng, index):
    values = rng.normal(size=(3, 5, 7)).astype(np.float32)
    pixels = pickle.loads(pickle.dumps(write_mrc(tmp_path / "v.mrc", values, 1.0)))  # noqa: S301
    assert_array_equal(pixels[index], values[index])
    assert pixels[index].shape == values[index].shape


@pytest.mark.parametrize("n_x", [6, 7])
def test_unpacks_four_bits(tmp_path, rng, n_x):
    values = rng.integers(0, 16, (2, 3, n_x)).astype(np.uint8)
    padded = np.pad(values, ((0, 0), (0, 0), (0, n_x % 2)))
    packed = padded[..., 0::2] | padded[..., 1::2] << 4
    path = tmp_path / "frames.mrc"
    with mrcfile.new(path) as mrc:
        mrc.set_data(packed.view(np.int8))
        mrc.header.nx, mrc.header.mode = n_x, 101
    assert_array_equal(MrcPixels(path)[...], values)


def test_sees_through_four_bits_in_disguise(tmp_path):
    """A K2 super-resolution frame of 7676 x 7420 written as mode 0 of half the width."""
    path = tmp_path / "frames.mrc"
    with mrcfile.new_mmap(path, (1, 7420, 3838), mrc_mode=0) as mrc:
        mrc.voxel_size = 2.0  # what a program finds that divides the cell by the disguised width
        mrc.data[0, 0, :2] = (0x21, 0x43)
    pixels = MrcPixels(path)
    assert pixels.shape == (1, 7420, 7676)
    assert pixels.pixel_size_angstrom == pytest.approx(1.0)
    assert_array_equal(pixels[0, 0, :5], [1, 2, 3, 4, 0])


def test_reads_unsigned_bytes_of_imod(tmp_path):
    path, values = tmp_path / "bytes.mrc", np.array([[[0, 127, 128, 255]]], dtype=np.uint8)
    with mrcfile.new(path, values.view(np.int8)) as mrc:
        raw_header = bytearray(mrc.header.tobytes())
    raw_header[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    path.write_bytes(bytes(raw_header) + values.tobytes())
    assert_array_equal(MrcPixels(path)[...], values)


def test_reads_the_fei_header_of_a_real_micrograph(data):
    pixels = MrcPixels(data / "micrographs" / "fei-extended.mrc")
    assert (pixels.shape, pixels.dtype) == ((1, 3838, 3710), np.uint16)
    assert pixels.pixel_size_angstrom == pytest.approx(0.8538, abs=1e-3)
    with mrcfile.open(pixels.path) as mrc:
        assert_array_equal(pixels[0, 1000:1010], mrc.data.reshape(pixels.shape)[0, 1000:1010])


def test_does_not_believe_mapc(tmp_path, rng):
    path, values = tmp_path / "v.mrc", rng.normal(size=(2, 3, 4)).astype(np.float32)
    write_mrc(path, values, 1.0)
    raw = bytearray(path.read_bytes())
    raw[64:76] = np.array([0, 3, 1], "<i4").tobytes()
    path.write_bytes(raw)
    assert_array_equal(MrcPixels(path)[...], values)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["stack", "volume"])
def test_writes_what_mrcfile_accepts(tmp_path, rng, dtype, kind):
    values = rng.normal(3, 2, size=(4, 6, 5)).astype(dtype).astype(np.float32)
    path = tmp_path / "out.mrc"
    written = write_mrc(path, values, 1.35, dtype=dtype, kind=kind)
    assert_array_equal(written[...], values)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert mrc.is_volume() == (kind == "volume")
        assert mrc.voxel_size.x == pytest.approx(1.35)
        header = mrc.header
        assert_allclose(
            [header.dmin, header.dmax, header.dmean, header.rms],
            [values.min(), values.max(), values.mean(), values.std()],
            rtol=1e-5,  # float32 sums
        )


def test_slabs_and_slices_in_any_order(tmp_path, rng):
    values = rng.normal(size=(4, 9, 6)).astype(np.float32)
    sink = MrcSink(tmp_path / "out.mrc", values.shape, 1.0)
    for y0 in (6, 0, 3):
        sink[:, y0 : y0 + 3] = values[:, y0 : y0 + 3]
    sink[2] = 7.0
    sink[2, :, 3:] = values[2, :, 3:]
    sink[2, :, :3] = values[2, :, :3]
    sink[1, ::-2] = values[1, ::-2]
    assert_array_equal(sink[1], values[1])
    assert not (tmp_path / "out.mrc").exists()
    assert_array_equal(sink.commit()[...], values)
    assert os.listdir(tmp_path) == ["out.mrc"]


def test_an_image_stays_two_dimensional(tmp_path, rng):
    values = rng.normal(size=(5, 6)).astype(np.float32)
    written = write_mrc(tmp_path / "image.mrc", values, 1.0)
    assert written.shape == (5, 6)
    assert_array_equal(written[1:3, ::2], values[1:3, ::2])


def test_unwritten_rows_are_a_bug(tmp_path):
    sink = MrcSink(tmp_path / "out.mrc", (2, 3, 4), 1.0)
    sink[0] = 0.0
    with pytest.raises(RuntimeError, match="3 of 6 rows"):
        sink.commit()
    assert os.listdir(tmp_path) == []


def test_discard_leaves_nothing(tmp_path):
    sink = MrcSink(tmp_path / "out.mrc", (2, 3, 4), 1.0)
    sink[0] = 1.0
    sink.discard()
    sink.discard()
    assert os.listdir(tmp_path) == []


def test_float16_refuses_what_does_not_fit(tmp_path):
    sink = MrcSink(tmp_path / "out.mrc", (1, 2, 2), 1.0, "float16")
    with pytest.raises(DataUnfitError, match="do not fit 16-bit"):
        sink[0] = 1e6
    sink.discard()


def test_truncated_file_tells_both_sizes(tmp_path, rng):
    path = tmp_path / "cut.mrc"
    write_mrc(path, rng.normal(size=(4, 8, 8)).astype(np.float32), 1.0)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataUnfitError, match="truncated") as caught:
        MrcPixels(path)
    assert caught.value.facts == {"got_bytes": 1948, "expected_bytes": 2048}


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 2000])
def test_refuses_what_is_no_mrc(tmp_path, content):
    (tmp_path / "no.mrc").write_bytes(content)
    with pytest.raises(DataUnfitError, match=r"no\.mrc is"):
        MrcPixels(tmp_path / "no.mrc")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataUnfitError, match=r"none\.mrc does not exist"):
        MrcPixels(tmp_path / "none.mrc")


@pytest.mark.parametrize(("code", "says"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "no permission")])
def test_a_failing_disk_leaves_nothing(tmp_path, monkeypatch, code, says):
    sink = MrcSink(tmp_path / "out.mrc", (2, 3, 4), 1.0)

    def refuse(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(TransientError, match=says):
        sink[0] = 1.0
    assert os.listdir(tmp_path) == []


def test_too_little_room_is_reported_before_work_begins(tmp_path):
    with pytest.raises(TransientError, match="no room") as caught:
        MrcSink(tmp_path / "out.mrc", (100, 500000, 500000), 1.0)
    assert caught.value.facts["needed_bytes"] > caught.value.facts["free_bytes"]


def test_a_volumes_origin_is_where_positions_count_from(tmp_path):
    volume = MrcSink(tmp_path / "volume.mrc", (4, 7, 10), 2.5, kind="volume")
    volume[:] = np.zeros((4, 7, 10), np.float32)
    volume.commit()
    with mrcfile.open(tmp_path / "volume.mrc", header_only=True) as file:
        origin = file.header.origin
        # MRC2014: the first voxel's place, when index n // 2 is at 0.
        assert (float(origin.x), float(origin.y), float(origin.z)) == (-12.5, -7.5, -5.0)


def test_a_file_is_written_on_under_another_name(tmp_path, rng):
    """What `kept_sections` needs: sections noted or copied as they are stored give the file of one run."""
    images = rng.normal(size=(3, 40, 50)).astype(np.float32)
    begun = MrcSink(tmp_path / "begun.mrc", images.shape, 2.0, "float16", onto=tmp_path / "begun.mrc")
    begun[0], begun[2] = images[0], images[2]
    begun.flush()
    statistics = {i: begun.section_statistics(i) for i in (0, 2)}
    begun.close()
    with mrcfile.open(tmp_path / "begun.mrc", header_only=True) as file:
        assert file.header.dmin > file.header.dmax  # not known
    copied = MrcSink(tmp_path / "copied.mrc", images.shape, 2.0, "float16")
    for i in (0, 2):
        copied.copy_section(i, tmp_path / "begun.mrc", i, statistics[i])
    os.link(tmp_path / "begun.mrc", tmp_path / "second.part")
    taken = MrcSink(tmp_path / "taken.mrc", images.shape, 2.0, "float16", onto=tmp_path / "second.part")
    for i in (0, 2):
        taken.note_section(i, statistics[i])
    expected = write_mrc(tmp_path / "whole.mrc", images, 2.0, dtype="float16").path
    for sink in (copied, taken):
        sink[1] = images[1]
        assert sink.commit().path.read_bytes() == expected.read_bytes()
    assert not (tmp_path / "second.part").exists()


def test_sections_are_copied_where_the_system_cannot(tmp_path, rng, monkeypatch):
    images = rng.normal(size=(2, 30, 20)).astype(np.float32)
    whole = write_mrc(tmp_path / "whole.mrc", images, 2.0)
    sink = MrcSink(tmp_path / "copy.mrc", images.shape, 2.0)
    statistics = np.stack([images[1].min(1), images[1].max(1), images[1].mean(1), images[1].var(1)])

    def refuse(*_):
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(os, "copy_file_range", refuse)
    sink.copy_section(0, whole.path, 1, statistics)
    sink[1] = images[0]
    assert_array_equal(sink.commit()[:], images[::-1])
