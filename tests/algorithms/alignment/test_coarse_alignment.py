"""Squeezing is exact for a flat specimen; images far apart are brought together."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.coarse_alignment import align_coarsely, squeeze_images
from cryoloom.algorithms.alignment.first_alignment import choose_axis
from cryoloom.algorithms.series.tilt_images import shrink_images
from makers.blob_series import AXIS, TILTS, make_series
from makers.coarse_images import ALL, images_of
from makers.gold_field import gold


def spot(shape, at_yx, width=3.0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((y - at_yx[0]) ** 2 + (x - at_yx[1]) ** 2) / (2 * width**2)).astype(np.float32)


@pytest.mark.parametrize("shape", [(64, 64), (63, 80)])
@pytest.mark.parametrize("canvas", [None, (96, 100)])
def test_a_squeezed_spot_lies_where_a_flat_specimen_shows_it(shape, canvas):
    # The axis lies along y: a spot at x = 10 of the image at 0 degrees is at 10 cos 60 = 5 at 60 degrees.
    image = spot(shape, (shape[0] // 2 + 4 + 2, shape[1] // 2 + 10 + 3))
    out = squeeze_images(
        torch.from_numpy(image)[None], np.array([0.0]), np.array([[2.0, 3.0]]), 0.0, 60.0, canvas
    )[0]
    out_y, out_x = canvas or shape
    row, column = np.unravel_index(int(out.argmax()), out.shape)
    assert (row - out_y // 2, column - out_x // 2) == (4, 5)


def misplacement(found_xy, truth):
    """Distance ``(n,)`` from the truth but for one motion of the origin, which alignment may choose."""
    difference = (found_xy - truth.shift_xy_angstrom).ravel()
    moves = truth.matrices[:, :2].reshape(-1, 3)
    for _ in range(3):
        kept = np.abs(difference - np.median(difference)) < 300
        origin = np.linalg.lstsq(moves[kept], difference[kept], rcond=None)[0]
        difference = difference - moves @ origin
    return np.hypot(*difference.reshape(-1, 2).T)


@pytest.mark.parametrize("shift_angstrom", [60.0, 230.0])  # 230: up to a quarter of the field and more
def test_every_image_is_placed(rng, shift_angstrom):
    series, truth = make_series(rng, shift_angstrom=shift_angstrom)
    coarse = align_coarsely(images_of(series), TILTS, AXIS, ALL, max_shift_fraction=0.4)
    # What is seen differs with the shift, and so does its mean depth; a wrong peak is off by 300 A and more.
    assert misplacement(coarse.shift_xy_angstrom, truth).max() < 120.0
    assert np.nanmin(coarse.prominence) > 6.0


def test_unused_images_do_not_matter(rng):
    series, truth = make_series(rng)
    images = images_of(series)
    images.images[[3, 15]] = 0.0
    usable = ALL.copy()
    usable[[3, 15]] = False
    axis, _, _ = choose_axis(shrink_images(images, 96), TILTS, usable, AXIS + 5)
    coarse = align_coarsely(images, TILTS, axis, usable)
    assert misplacement(coarse.shift_xy_angstrom, truth)[usable].max() < 100.0
    assert np.isnan(coarse.prominence[[3, 15]]).all()


@pytest.mark.parametrize("seed", [1, 2])
def test_gold_far_below_the_height_that_the_stage_keeps_is_followed(seed):
    """At 20 degrees it is 480 A from the middle of the series, beyond the reach of 0.3 of the field."""
    images, geometry = gold(seed, height=-1400.0)
    everything = np.ones(geometry.n_views, dtype=bool)
    found = align_coarsely(images, geometry.tilt_deg, geometry.mean_axis_deg, everything)
    assert 0.3 * min(images.shape_yx) * images.pixel_size_angstrom < 310
    assert (
        misplacement(found.shift_xy_angstrom, geometry).max() < 60.0
    )  # a wrong peak is off by 150 A and more
