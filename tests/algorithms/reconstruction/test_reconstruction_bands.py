"""A volume made band by band is the same for any memory, and every voxel is written once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.reconstruction.reconstruction_bands import (
    BESIDES_BYTES,
    Part,
    bands_of,
    reconstruct_band,
)
from cryoloom.algorithms.reconstruction.tomogram_grid import tomogram_grid
from cryoloom.model import Microscope, Pose, Stack, Tilt, TiltSeries


class SumOfRows:
    """A method that adds the tilts' rows, and the next row: every voxel tells where it came from."""

    halo_rows, held_row_bytes, strip_bytes = 2, 1000, 5000

    def __init__(self, n_z):
        self.n_z, self.first_rows = n_z, []

    def strips(self, aligned, first_row):
        self.first_rows.append(first_row)
        n_rows = aligned.shape[1] - 4
        summed = aligned.nan_to_num(0.0).sum(dim=0)
        for start in range(0, n_rows, 32):
            stop = min(n_rows, start + 32)
            rows = summed[2 + start : 2 + stop] + summed[3 + start : 3 + stop]
            yield rows[None, :, :-2].expand(self.n_z, -1, -1)


class Volume:
    def __init__(self, shape):
        self.values, self.n_written = np.full(shape, np.nan, np.float32), np.zeros(shape, int)

    def __setitem__(self, index, strip):
        self.values[index] = strip
        self.n_written[index] += 1


@pytest.fixture
def series(rng):
    images = rng.normal(100, 10, (3, 150, 160)).astype(np.float32)
    tilts = tuple(
        Tilt(i, angle, 3.0 * i, 3.0 * i + 3, section=i, pose=Pose(0.0, angle))
        for i, angle in enumerate((-30.0, 0.0, 30.0))
    )
    return TiltSeries("TS_01", Microscope(), 5.0, tilts, stack=Stack(images, 5.0))


def made(series, memory_bytes):
    grid = tomogram_grid(
        series, series.stack, binning=1, voxel_size_angstrom=None, thickness_angstrom=50.0,
        length_angstrom=None, width_angstrom=None,
    )  # fmt: skip
    method, volume = SumOfRows(grid.volume_shape[0]), Volume((grid.volume_shape[0], 150, grid.n_columns - 2))
    part = Part("tomogram", series.stack.images, grid, method)
    bands = bands_of(grid, method, memory_bytes)
    assert [band.start for band in bands[1:]] == [band.stop for band in bands[:-1]]
    assert (bands[0].start, bands[-1].stop) == (0, 150)
    steps = 0
    for band in bands:
        assert (band.stop - band.start) % 32 == 0 or band is bands[-1]
        steps += sum(reconstruct_band(part, band, volume, device="cpu", memory_bytes=memory_bytes))
    assert steps == 150 + 3 * len(bands)  # rows, and the alignment of three images in every band
    return volume, bands, method


def test_bands_as_large_as_memory_allows_make_one_volume(series):
    whole, one, _ = made(series, BESIDES_BYTES + (1 << 30))
    assert len(one) == 1
    parts, many, method = made(series, BESIDES_BYTES + 1)
    assert len(many) == 5
    assert method.first_rows == [0, 32, 64, 96, 128]
    assert (whole.n_written == 1).all()
    assert (parts.n_written == 1).all()
    np.testing.assert_array_equal(whole.values, parts.values)
    assert np.isfinite(whole.values).all()
    assert float(torch.from_numpy(whole.values).std()) > 0
