"""newstack with the transforms of the poses, moved to our centre; what is left of the poses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.transforms import read_xf, xf_from_poses
from cryoloom.model import Stack
from cryoloom.programs.imod.imod_apply_alignment import ImodApplyAlignmentParams, imod_apply_alignment
from makers.imod_stand_ins import NEWSTACK
from makers.made_series import aligned, make_series


@pytest.fixture
def series(rng, stand_in):
    stand_in("newstack", NEWSTACK)
    made = aligned(make_series(n_tilts=5, shape_yx=(21, 48), rng=rng), leave_out=(3,))
    images = made.stack.images
    return replace(made, stack=Stack(images, 2.0, images, images), weighted=Stack(images, 2.0))


def test_sides_are_exchanged_and_the_origin_is_the_middle_pixel(series, context):
    found = imod_apply_alignment(series, ImodApplyAlignmentParams(binning=2), context)
    # The axis of 85 degrees lies along x.
    assert found.stack.images.shape == found.stack.odd.shape == found.weighted.images.shape == (5, 24, 10)
    assert found.stack.pixel_size_angstrom == 4.0
    assert all(tilt.pose.axis_deg == 0.0 for tilt in found.included)
    assert found.included[0].pose.shift_xy_angstrom == (0.0, 0.0)
    written = read_xf(context.scratch() / "stack.xf")
    tilts = sorted((t for t in series.tilts), key=lambda tilt: tilt.section)
    used = [t for t in tilts if t.pose is not None]
    plain = xf_from_poses([t.pose for t in used], 2.0, (21, 48))
    # Both sides of the aligned images are even: half a binned pixel, one of the images.
    moved = written[[t.section for t in used]][:, :, 2] - plain[:, :, 2]
    assert_allclose(moved, 1.0, atol=1e-3)
    assert context.figures["pixel_size_angstrom"] == 4.0


def test_a_series_that_is_not_aligned(series, context):
    bare = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="has no poses; align the series first"):
        imod_apply_alignment(bare, ImodApplyAlignmentParams(), context)
