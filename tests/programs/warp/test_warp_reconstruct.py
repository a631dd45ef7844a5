"""WarpTools' tomogram: the whole chain, mirrored in z, with the place of its origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.model import Stack
from cryoloom.programs.warp.warp_reconstruct import WarpReconstructParams, volume_name, warp_reconstruct
from makers.context import MemoryContext
from makers.made_series import aligned, make_series
from makers.warp_stand_ins import WARPTOOLS

SMALL = {"voxel_size_angstrom": 20.0, "thickness_angstrom": 200.0}


@pytest.fixture
def series(rng, stand_in):
    stand_in("WarpTools", WARPTOOLS)
    made = aligned(make_series("TS 01", n_tilts=5, shape_yx=(48, 64), rng=rng, pixel_size_angstrom=5.0))
    images = made.stack.images
    return replace(made, stack=Stack(images, 5.0, images, images))


def test_axes_halves_and_origin(series):
    context = MemoryContext(device="cuda:0")
    found = warp_reconstruct(series, WarpReconstructParams(**SMALL), context)
    assert found.volume.shape == (10, 12, 16)
    assert found.volume[2, 5, 3] == 70503
    assert found.even[2, 5, 3] == 1070503
    assert found.odd[2, 5, 3] == 2070503
    assert found.series.name == "TS 01"
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ (0.0, 0.0, 20.0))[:2], atol=1e-9)
    assert "--dont_invert" in (context.scratch() / "reconstruct.txt").read_text()


def test_options_and_names(series):
    context = MemoryContext(device="cuda:0")
    params = WarpReconstructParams(**SMALL, white_structure=True, normalise=False, halves=False)
    assert warp_reconstruct(series, params, context).even is None
    words = (context.scratch() / "reconstruct.txt").read_text()
    assert "--dont_invert" not in words
    assert "--dont_normalize" in words
    assert volume_name("stack", 7.5) == "stack_7.50Apx"


def test_what_warp_cannot_reconstruct(series):
    blind = series.with_tilts({0: {"ctf": None}})
    with pytest.raises(DataUnfitError, match="not every tilt of TS 01 has a CTF"):
        warp_reconstruct(blind, WarpReconstructParams(**SMALL), MemoryContext(device="cuda:0"))


def test_a_volume_of_another_size_is_refused(series, stand_in):
    stand_in("WarpTools", WARPTOOLS.replace("write_mrc(path, (z, y, x)", "write_mrc(path, (y, z, x)"))
    with pytest.raises(DataUnfitError, match="WarpTools made a volume of"):
        warp_reconstruct(
            series, WarpReconstructParams(voxel_size_angstrom=20.0, thickness_angstrom=400.0),
            MemoryContext(device="cuda:0"),
        )  # fmt: skip
