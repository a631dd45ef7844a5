"""Pictures show what is where: row 0 below, slices through the centre, bars of the right length."""

import numpy as np
import pytest
from PIL import Image

from cryoloom.views.images import (
    averaged_to,
    central_slices,
    slice_images,
    stretched,
    with_scale_bar,
)


@pytest.mark.parametrize("shape", [(64, 96), (63, 97), (5, 3)])
def test_averaging_keeps_the_mean_and_fits(shape, rng):
    image = rng.normal(size=shape).astype(np.float32)
    small = averaged_to(image, 16)
    assert max(small.shape) <= 16
    if all(n % 6 == 0 for n in shape):
        assert small.mean() == pytest.approx(image.mean(), abs=1e-6)


def test_row_zero_is_the_bottom_and_nan_is_black():
    image = np.zeros((4, 4), np.float32)
    image[0] = 1.0
    image[3, 0] = np.nan
    picture = np.asarray(stretched(image, 0, 100))
    assert picture[-1].tolist() == [255] * 4
    assert picture[0, 0] == 0


@pytest.mark.parametrize("shape", [(9, 20, 30), (8, 21, 31)])
def test_slices_pass_through_the_centre(shape):
    volume = np.zeros(shape, np.float32)
    z, y, x = (n // 2 for n in shape)
    volume[z, y, x] = 1.0
    slices = central_slices(volume, 10.0, 30.0)
    assert slices.thickness_angstrom == 30.0
    for image, peak in ((slices.xz, (z, x)), (slices.yz, (y, z))):
        assert np.unravel_index(image.argmax(), image.shape) == peak
    xy, xz, yz = slice_images(slices, 60)
    assert (xy.width, xy.height) == (xz.width, yz.height)


def test_xy_is_taken_where_the_specimen_is(rng):
    volume = rng.normal(0, 0.1, (40, 64, 64)).astype(np.float32)
    volume[8:12] += np.kron(rng.normal(size=(8, 8)), np.ones((8, 8))).astype(np.float32)
    slices = central_slices(volume, 20.0, 60.0)
    assert slices.height_angstrom == pytest.approx((9.5 - 20) * 20, abs=40)
    assert slices.xy.std() > 0.5


def test_the_bar_is_as_long_as_it_says():
    marked = np.asarray(with_scale_bar(Image.new("L", (400, 300), 128), 5.0))
    longest = max((marked[-30:] == 255).sum(axis=1))
    assert longest == pytest.approx(40, abs=2)  # 20 nm at 0.5 nm a pixel
