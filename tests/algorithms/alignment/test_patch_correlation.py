"""Patches of an image against a shifted copy of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.alignment.patch_correlation import LEAST_PROMINENCE, PatchCorrelator
from cryoloom.algorithms.series.tilt_images import TiltImages
from makers.bead_images import coloured_noise

PIXEL = 10.0


def images_of(*images):
    ones = np.ones(len(images))
    return TiltImages(torch.from_numpy(np.stack(images)).float(), PIXEL, ones, ones)


@pytest.mark.parametrize("shape", [(120, 160), (121, 159)])
def test_a_shift_is_found_in_every_patch(shape, rng):
    image = coloured_noise(rng, shape)
    moved = np.roll(image, (3, -5), axis=(0, 1))  # up by 3 rows, to the left by 5 columns
    correlator = PatchCorrelator.of(images_of(image, moved), 400.0)
    assert correlator.side == 40
    centres = np.array([[0.0, 0.0], [-300.0, 150.0], [250.0, -200.0]])
    still, shifted = (correlator.cut(view, centres) for view in (0, 1))
    shift, prominence = correlator.locate(still, shifted, 100.0)
    assert_allclose(shift, np.tile([-50.0, 30.0], (3, 1)), atol=1.5)
    assert (prominence > 3 * LEAST_PROMINENCE).all()


def test_patches_of_other_images_have_no_peak(rng):
    first, second = coloured_noise(rng, (120, 160)), coloured_noise(rng, (120, 160))
    correlator = PatchCorrelator.of(images_of(first, second), 400.0)
    centres = rng.uniform(-300, 300, (20, 2))
    _, prominence = correlator.locate(correlator.cut(0, centres), correlator.cut(1, centres), 60.0)
    assert np.median(prominence) < 1.2 * LEAST_PROMINENCE
    assert prominence.max() < 2.5 * LEAST_PROMINENCE


def test_patches_may_leave_the_image_by_an_eighth(rng):
    correlator = PatchCorrelator.of(images_of(coloured_noise(rng, (120, 160))), 400.0)
    # Half the image is 800 A, a patch 400 A wide: its centre is at most 650 A from the middle.
    at = np.array([[649.0, 0.0], [651.0, 0.0], [0.0, 449.0], [0.0, 451.0]])
    assert correlator.fits(at).tolist() == [True, False, True, False]


def test_a_patch_is_at_most_half_the_field(rng):
    assert PatchCorrelator.of(images_of(coloured_noise(rng, (120, 160))), 5000.0).side == 60
