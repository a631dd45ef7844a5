"""bin_series: positions, halves, counts and the values other programs ask for."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.steps.bin_series import BinSeriesParams, bin_series


@pytest.fixture
def series(rng):
    halves = rng.poisson(20.0, (2, 3, 96, 122)).astype(np.float32)
    tilts = tuple(
        Tilt(
            i,
            3.0 * i,
            3.0 * i,
            3.0 * i + 3,
            section=i,
            pose=Pose(85.0, 3.0 * i, shift_xy_angstrom=(9.0, 4.0)),
        )
        for i in range(3)
    )
    stack = Stack(halves.sum(axis=0), 2.0, halves[0], halves[1])
    return TiltSeries("TS", Microscope(), 1.0, tilts, stack=stack, weighted=stack)


@pytest.mark.parametrize("values", ["mean", "counts", "standard"])
def test_halves_add_up_and_values_are_as_asked(series, context, values):
    after = bin_series(series, BinSeriesParams(binning=4, values=values), context)
    stack = after.stack
    assert stack.pixel_size_angstrom == after.weighted.pixel_size_angstrom == 8.0
    assert stack.shape_yx == (24, 30)
    assert after.tilts == series.tilts
    assert after.pixel_size_angstrom == 1.0
    np.testing.assert_allclose(stack.images, stack.even + stack.odd, rtol=1e-4, atol=1e-4)
    mean = float(stack.images[1].mean())
    if values == "standard":
        assert (mean, stack.images[1].std()) == pytest.approx((0.0, 1.0), abs=1e-5)
    else:
        assert mean == pytest.approx(40.0 * (16 if values == "counts" else 1), rel=0.02)
    if values == "counts":  # of shot noise the variance is the mean, less what the corners lose
        assert stack.images.var() / stack.images.mean() == pytest.approx(1.0, abs=0.15)
    assert context.figures["pixel_size_angstrom"] == 8.0


def test_a_pixel_size_can_be_given(series, context):
    after = bin_series(series, BinSeriesParams(pixel_size_angstrom=5.0), context)
    assert after.stack.pixel_size_angstrom == pytest.approx(5.0, rel=1e-3)
    with pytest.raises(UserInputError, match="finer than the images"):
        bin_series(series, BinSeriesParams(pixel_size_angstrom=1.0), context)
    with pytest.raises(UserInputError, match="fewer than 8"):
        bin_series(series, BinSeriesParams(binning=32), context)


def test_what_is_no_number_is_refused(series, context):
    series.stack.images[1, 5, 5] = np.nan
    with pytest.raises(DataUnfitError, match="section 1"):
        bin_series(series, BinSeriesParams(), context)
