"""Sizes of a tomogram, and series that cannot be reconstructed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.reconstruction.tomogram_grid import tomogram_grid
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.model.tilt import Exclusion

STACK = Stack(np.zeros((3, 200, 300), np.float32), 5.0)


def series(axis_deg=0.0, **tilt):
    tilts = tuple(
        Tilt(i, angle, 3.0 * i, 3.0 * i + 3, section=i, pose=Pose(axis_deg, angle))
        for i, angle in enumerate((-30.0, 0.0, 30.0))
    )
    return TiltSeries("TS_01", Microscope(), 5.0, (replace(tilts[0], **tilt), *tilts[1:]), stack=STACK)


def grid(of, **sizes):
    usual = {
        "binning": None,
        "voxel_size_angstrom": None,
        "thickness_angstrom": 1000.0,
        "length_angstrom": None,
        "width_angstrom": None,
    }
    return tomogram_grid(of, STACK, **(usual | sizes))


def test_voxels_are_about_ten_angstrom_and_the_field_is_kept():
    made = grid(series())
    assert (made.voxel_size_angstrom, made.binning) == (10.0, 2.0)
    assert made.volume_shape == (100, 100, 150)
    assert made.n_columns == 152
    assert made.row_bytes == 4 * 3 * 152


def test_an_axis_along_x_exchanges_the_sides():
    assert grid(series(axis_deg=88.0)).volume_shape == (100, 150, 100)


def test_sizes_can_be_given():
    made = grid(
        series(),
        voxel_size_angstrom=20.0,
        thickness_angstrom=600.0,
        length_angstrom=400.0,
        width_angstrom=800.0,
    )
    assert (made.volume_shape, made.voxel_size_angstrom) == ((30, 20, 40), 20.0)
    # What voxels of that thickness need at high tilt, and a margin.
    assert made.n_columns == 72


def test_excluded_tilts_are_left_out():
    made = grid(series(exclusion=Exclusion.by_step("dark", "select"), pose=None))
    assert [tilt.acquisition_index for tilt in made.tilts] == [1, 2]
    assert len(made.poses) == 2


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (series(pose=None), "1 of 3 tilts have no pose; run align_series first"),
        (series(section=7), "1 tilts have no image in the stack of 3; exclude them"),
        (replace(series(), tilts=series().tilts[:1]), "at least 2 different tilts, got 1"),
    ],
)
def test_what_cannot_be_reconstructed_is_refused(of, message):
    with pytest.raises(DataUnfitError, match=message):
        grid(of)


def test_voxels_finer_than_the_images_are_refused():
    with pytest.raises(UserInputError, match="voxel_size_angstrom is 2, finer than the images' 5"):
        grid(series(), voxel_size_angstrom=2.0)
