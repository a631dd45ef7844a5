"""Volumes in the order of IMOD's tilt beside the usual one, and 16 bits where they add no noise."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.reconstruction.tomogram_grid import tomogram_grid
from cryoloom.model import Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.procedures.tomogram_volumes import middle_rows, new_volume, stored_type


def grid_of(images):
    tilts = tuple(
        Tilt(i, angle, 3.0 * i, 3.0 * i + 3, section=i, pose=Pose(0.0, angle))
        for i, angle in enumerate((-30.0, 0.0, 30.0))
    )
    series = TiltSeries("TS_01", Microscope(), 5.0, tilts, stack=Stack(images, 5.0))
    return tomogram_grid(
        series, series.stack, binning=1, voxel_size_angstrom=None, thickness_angstrom=40.0,
        length_angstrom=None, width_angstrom=None,
    )  # fmt: skip


@pytest.fixture
def images(rng):
    return rng.normal(100, 10, (3, 60, 64)).astype(np.float32)


def test_the_second_order_is_turned_and_mirrored(images, context, rng):
    grid = grid_of(images)
    _, target = new_volume("tomogram", grid, "float32", context, multiscale=False, also_xzy=True)
    volume = rng.normal(size=grid.volume_shape).astype(np.float32)
    for top in range(0, 60, 32):
        rows = slice(top, min(60, top + 32))
        target[0 : volume.shape[0], rows, 0 : volume.shape[2]] = volume[:, rows]
    np.testing.assert_array_equal(context.pixels["tomogram"], volume)
    np.testing.assert_array_equal(context.pixels["tomogram_xzy"], volume[::-1].transpose(1, 0, 2))


def test_one_order_is_one_volume(images, context):
    sink, target = new_volume(
        "tomogram", grid_of(images), "float16", context, multiscale=False, also_xzy=False
    )
    assert sink is target
    assert list(context.pixels) == ["tomogram"]


def test_weak_voxels_are_stored_in_32_bits(images):
    assert stored_type(images, grid_of(images), "float16", "cpu") == "float16"
    faint = (1000 + 1e-3 * (images - 100)).astype(np.float32)
    assert stored_type(faint, grid_of(faint), "float16", "cpu") == "float32"
    assert stored_type(images, grid_of(images), "float32", "cpu") == "float32"


def test_the_middle_is_a_strip_of_the_tilt_s_contrast(images):
    grid = grid_of(images)
    rows = middle_rows(images, grid, 1, "cpu").numpy()
    assert rows.shape == (32, grid.n_columns)
    inside = rows[:, np.isfinite(rows).all(axis=0)]
    assert abs(inside.mean()) < 0.02
    # Contrast of 10 %, of which the filter of the splines leaves the inner part of the frequencies.
    assert 0.05 < inside.std() < 0.1
