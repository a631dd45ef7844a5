"""AreTomo 3's tomogram: its alignment and CTFs, which half is which, the order of axes and the origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Stack
from cryoloom.programs.aretomo.aretomo3_reconstruct import Aretomo3ReconstructParams, aretomo3_reconstruct
from makers.aretomo_stand_ins import ARETOMO3_RECONSTRUCTION
from makers.made_series import aligned, make_series

SMALL = {"binning": 2.0, "thickness_angstrom": 100.0}


@pytest.fixture
def series(rng):
    made = aligned(
        make_series(n_tilts=9, shape_yx=(24, 16), rng=rng, pixel_size_angstrom=5.0), leave_out=(4,)
    )
    images = made.stack.images
    return replace(made, stack=Stack(images, 5.0, images + 100, images + 200))


@pytest.fixture
def on_gpu(context, stand_in):
    stand_in("AreTomo3", ARETOMO3_RECONSTRUCTION)
    context.device = "cuda:0"
    return context


def test_axes_halves_and_origin(series, on_gpu):
    found = aretomo3_reconstruct(series, Aretomo3ReconstructParams(**SMALL), on_gpu)
    assert found.volume.shape == (10, 12, 8)
    assert found.volume[7, 5, 3] == 70503
    # Our even half is AreTomo's odd one, whose frames count from 1.
    assert found.even[7, 5, 3] == 2070503
    assert found.odd[7, 5, 3] == 1070503
    first = min(tilt.section for tilt in series.included)
    placed = MrcPixels(on_gpu.scratch() / "stack_ODD.mrc")[0]
    assert_allclose(placed, series.stack.even[first], atol=1e-5)
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ np.full(3, 5.0))[:2], atol=1e-9)


@pytest.mark.parametrize("correct_ctf", ["deconvolve", "flip", "multiply"])
def test_ctfs_are_given_where_they_are_corrected(series, on_gpu, correct_ctf):
    params = Aretomo3ReconstructParams(**SMALL, correct_ctf=correct_ctf, halves=False)
    assert aretomo3_reconstruct(series, params, on_gpu).even is None
    blind = series.with_tilts({0: {"ctf": None}})
    with pytest.raises(DataUnfitError, match="not every tilt of TS_01 has a CTF"):
        aretomo3_reconstruct(blind, params, on_gpu)


def test_what_it_cannot_reconstruct(series, on_gpu):
    few = aligned(make_series(n_tilts=5))
    with pytest.raises(DataUnfitError, match="has 5 tilts in use, expected at least 7"):
        aretomo3_reconstruct(few, Aretomo3ReconstructParams(), on_gpu)
    bare = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="have no pose; align the series first"):
        aretomo3_reconstruct(bare, Aretomo3ReconstructParams(), on_gpu)
