"""OME-Zarr: another library accepts the metadata, levels are means, and nothing half-made gets a name."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from ome_zarr_models.v05.image import Image

from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.formats.pixels import zarr as zarr_format
from cryoloom.formats.pixels.zarr import ZarrPixels, multiscales, write_multiscale


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(20, 300, 261), (3, 5, 7)])
def test_levels_are_means(tmp_path, rng, shape, dtype):
    volume = rng.normal(size=shape).astype(dtype)
    path = tmp_path / "tomogram.zarr"
    write_multiscale(volume, path, 5.4)
    finest = ZarrPixels(path)
    assert (finest.shape, finest.dtype, finest.pixel_size_angstrom) == (shape, np.dtype(dtype), 5.4)
    assert_array_equal(finest[2, 1:4], volume[2, 1:4].astype(np.float32))
    levels = sorted(p.name for p in path.iterdir() if p.is_dir())
    assert levels == [str(i) for i in range(3 if max(shape) > 128 else 1)]
    if len(levels) > 1:
        coarse = ZarrPixels(path, 1)
        assert coarse.shape == (10, 150, 131)
        assert coarse.pixel_size_angstrom == pytest.approx(10.8)
        expected = volume[4:6, 6:8, 8:10].astype(np.float64).mean()
        assert_allclose(coarse[2, 3, 4], expected, atol=1e-6 if dtype == "float32" else 1e-3)  # rounding
        edge = volume[4:6, 6:8, 260].astype(np.float64).mean()
        assert_allclose(coarse[2, 3, 130], edge, atol=1e-6 if dtype == "float32" else 1e-3)
    assert os.listdir(tmp_path) == ["tomogram.zarr"]


def test_metadata_is_ome_zarr(tmp_path, rng):
    path = tmp_path / "tomogram.zarr"
    write_multiscale(rng.normal(size=(10, 200, 10)).astype(np.float32), path, 2.0)
    image = Image.from_zarr(zarr.open_group(path, mode="r"))
    (multiscale,) = image.ome_attributes.multiscales
    assert [axis.unit for axis in multiscale.axes] == ["angstrom"] * 3
    second = multiscale.datasets[1].coordinateTransformations
    assert second[0].scale == [4.0] * 3
    assert second[1].translation == [1.0] * 3


def test_replaces_an_older_one(tmp_path):
    path = tmp_path / "tomogram.zarr"
    for value in (1.0, 2.0):
        write_multiscale(np.full((4, 4, 4), value, np.float32), path, 1.0)
    assert ZarrPixels(path)[0, 0, 0] == 2.0
    assert os.listdir(tmp_path) == ["tomogram.zarr"]


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zarr_format, "_new_level", refuse)
    with pytest.raises(TransientError, match="disk is full"):
        write_multiscale(np.zeros((4, 4, 4), np.float32), tmp_path / "tomogram.zarr", 1.0)
    assert os.listdir(tmp_path) == []


def test_images_are_refused(tmp_path):
    with pytest.raises(DataUnfitError, match="only volumes"):
        write_multiscale(np.zeros((4, 4), np.float32), tmp_path / "image.zarr", 1.0)
    assert os.listdir(tmp_path) == []


def test_what_is_no_volume_is_refused(tmp_path):
    with pytest.raises(DataUnfitError, match="not an OME-Zarr volume"):
        ZarrPixels(tmp_path)


def test_a_binned_voxel_lies_in_the_middle_of_those_it_is_the_mean_of():
    (written,) = multiscales("a", 3, 4.0)["multiscales"]
    places = [
        {kind["type"]: kind[kind["type"]] for kind in level["coordinateTransformations"]}
        for level in written["datasets"]
    ]
    assert [place["scale"] for place in places] == [[4.0] * 3, [8.0] * 3, [16.0] * 3]
    # Of two voxels at 0 and 4 A the middle is 2 A, of four at 0 to 12 A it is 6 A.
    assert [place["translation"] for place in places] == [[0.0] * 3, [2.0] * 3, [6.0] * 3]
    assert [level["path"] for level in written["datasets"]] == ["0", "1", "2"]
