"""EMAN2's tomogram: its files, the order of its axes, and the place of its origin for each handedness."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced, Stack
from cryoloom.programs.eman2.eman2_reconstruct import Eman2ReconstructParams, eman2_reconstruct
from makers.eman2_stand_ins import E2PROC3D, E2TOMOGRAM
from makers.made_series import aligned, make_series


@pytest.fixture
def series(stand_in):
    stand_in("e2tomogram.py", E2TOMOGRAM.replace("SIDE", "8"))
    stand_in("e2proc3d.py", E2PROC3D)
    made = aligned(make_series(n_tilts=7, shape_yx=(1026, 1030), pixel_size_angstrom=5.0), leave_out=(4,))
    images = made.stack.images
    return replace(made, stack=Stack(images, 5.0, images))


@pytest.mark.parametrize(
    ("hand", "voxel_at", "beyond"),
    [(-1.0, 10000 * 7 + 100 * 5 + 3, (0, 0, 10)), (1.0, 10000 * 2 + 100 * 2 + 4, (10, 10, 0))],
)
def test_axes_and_origin(series, context, hand, voxel_at, beyond):
    series = replace(series, handedness=Sourced.from_told(hand, "user"))
    found = eman2_reconstruct(series, Eman2ReconstructParams(thickness_angstrom=100.0), context)
    assert found.volume.shape == (10, 8, 8)
    assert found.voxel_size_angstrom == 10.0
    assert found.volume[2, 5, 3] == voxel_at
    assert found.even[2, 5, 3] == 1000000 + voxel_at
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ np.array(beyond, float))[:2], atol=1e-9)
    written = json.loads((context.scratch() / "info" / "images_info.json").read_text())
    assert len(written["tlt_params"]) == 6
    assert "defocus" not in written
    assert context.figures["n_tilts"] == 6


def test_phases_are_flipped_by_the_ctfs(series, context):
    params = Eman2ReconstructParams(correct_ctf=True, halves=False, thickness_angstrom=60.0)
    eman2_reconstruct(series, params, context)
    written = json.loads((context.scratch() / "info" / "images_info.json").read_text())
    assert len(written["defocus"]) == 6
    assert written["phase"][0] == pytest.approx(np.rad2deg(np.arcsin(0.1)), abs=1e-3)


def test_what_it_cannot_reconstruct(series, context):
    blind = series.with_tilts({0: {"ctf": None}})
    with pytest.raises(DataUnfitError, match="not every tilt of TS_01 has a CTF"):
        eman2_reconstruct(blind, Eman2ReconstructParams(correct_ctf=True), context)


def test_a_volume_of_another_thickness_is_refused(series, context, stand_in):
    wrong = E2TOMOGRAM.replace("SIDE", "8").replace('z = int(given["--clipz"][0])', "z = 3")
    stand_in("e2tomogram.py", wrong)
    with pytest.raises(DataUnfitError, match="a volume of 3 planes, expected 10"):
        eman2_reconstruct(series, Eman2ReconstructParams(thickness_angstrom=100.0), context)
