"""newstack, ctfphaseflip and tilt: their options, the order of the axes, the place of the origin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced, Stack
from cryoloom.programs.imod.imod_reconstruct import ImodReconstructParams, imod_reconstruct
from makers.imod_stand_ins import CTFPHASEFLIP, NEWSTACK, TILT
from makers.made_series import aligned, make_series


@pytest.fixture
def series(rng):
    made = aligned(
        make_series(n_tilts=7, shape_yx=(24, 16), rng=rng, pixel_size_angstrom=5.0), leave_out=(4,)
    )
    images = made.stack.images
    return replace(made, stack=Stack(images, 5.0, images + 1, images + 2))


@pytest.fixture
def imod(stand_in):
    for name, body in (("newstack", NEWSTACK), ("ctfphaseflip", CTFPHASEFLIP), ("tilt", TILT)):
        stand_in(name, body)


def test_axes_and_origin(series, context, imod):
    params = ImodReconstructParams(binning=2, thickness_angstrom=100.0, sirt_like_iterations=8)
    found = imod_reconstruct(series, params, context)
    assert found.volume.shape == (10, 12, 8)
    # Row 2 of IMOD's section 5 is plane 7 of ours: z is mirrored.
    assert found.volume[7, 5, 3] == 20503
    assert found.even is not None
    assert found.voxel_size_angstrom == 10.0
    words = (context.scratch() / "tilt.txt").read_text()
    left_out = next(t.section for t in series.tilts if t.is_excluded)
    assert f"-EXCLUDELIST {left_out + 1}" in words
    assert "-FakeSIRTiterations 8 " in words
    assert "-RADIAL 0.35,0.035 " in words
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ np.full(3, 5.0))[:2], atol=1e-9)


def test_a_tomogram_at_another_height_says_so_by_its_poses(series, context, imod):
    params = ImodReconstructParams(binning=2, thickness_angstrom=100.0, centre_height_angstrom=300.0)
    found = imod_reconstruct(series, params, context)
    for before, after in zip(series.included, found.series.included, strict=True):
        moved = np.array(after.pose.shift_xy_angstrom) - np.array(before.pose.shift_xy_angstrom)
        assert_allclose(moved, (before.pose.matrix @ (5.0, 5.0, 305.0))[:2], atol=1e-9)


def test_ctf_correction_knows_the_handedness(series, context, imod):
    params = ImodReconstructParams(binning=2, thickness_angstrom=100.0, ctf_correction=True)
    imod_reconstruct(series, params, context)
    assert "-InvertTiltAngles" not in (context.scratch() / "flip.txt").read_text()
    inverted = replace(series, handedness=Sourced.from_told(-1.0, "user"))
    imod_reconstruct(inverted, params, context)
    words = (context.scratch() / "flip.txt").read_text()
    assert "-InvertTiltAngles" in words
    assert "-PixelSize 1 " in words
    assert "-DefocusTol 200 " in words


def test_what_imod_cannot_reconstruct(series, context, imod):
    bare = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="has no poses; align the series first"):
        imod_reconstruct(bare, ImodReconstructParams(), context)
    blind = series.with_tilts({t.acquisition_index: {"ctf": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="has no CTF to correct"):
        imod_reconstruct(blind, ImodReconstructParams(ctf_correction=True), context)
