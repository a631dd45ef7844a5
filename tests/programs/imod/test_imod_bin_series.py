"""newstack bins all images; positions in angstrom stay where they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Stack
from cryoloom.programs.imod.imod_bin_series import ImodBinSeriesParams, imod_bin_series
from makers.imod_stand_ins import NEWSTACK
from makers.made_series import aligned, make_series


@pytest.fixture
def series(rng, stand_in):
    stand_in("newstack", NEWSTACK)
    made = aligned(make_series(n_tilts=3, shape_yx=(41, 48), rng=rng))
    images = made.stack.images
    return replace(
        made, stack=Stack(images, 2.0, images + 1, images + 2), weighted=Stack(images, 2.0, ctf_correction="")
    )


def test_all_images_are_binned(series, context):
    found = imod_bin_series(series, ImodBinSeriesParams(binning=4), context)
    assert found.stack.images.shape == found.stack.odd.shape == found.weighted.images.shape == (3, 10, 12)
    assert found.stack.pixel_size_angstrom == 8.0
    assert context.figures["pixel_size_angstrom"] == 8.0
    assert found.weighted.even is None


def test_the_middle_of_an_image_stays(series, context):
    """x: 48 -> 12 px, y: 41 -> 10 px; the middle is what newstack keeps."""
    found = imod_bin_series(series, ImodBinSeriesParams(binning=4), context)

    def from_the_middle(one, stack):
        n_y, n_x = stack.shape_yx
        centre = np.array([n_x // 2 - (n_x - 1) / 2, n_y // 2 - (n_y - 1) / 2]) * stack.pixel_size_angstrom
        return [np.add(tilt.pose.shift_xy_angstrom, centre) for tilt in one.tilts]

    assert_allclose(from_the_middle(found, found.stack), from_the_middle(series, series.stack), atol=1e-9)
    assert found.tilts[0].pose.shift_xy_angstrom != series.tilts[0].pose.shift_xy_angstrom


def test_what_cannot_be_binned(series, context):
    with pytest.raises(UserInputError, match="leaves less than 8 pixels"):
        imod_bin_series(series, ImodBinSeriesParams(binning=6), context)
    bare = replace(series, stack=None, weighted=None)
    with pytest.raises(DataUnfitError, match="has no images to bin"):
        imod_bin_series(bare, ImodBinSeriesParams(), context)
