"""The one look at every image: means, binned images, and the noise the halves tell."""

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.series.tilt_survey import survey_tilts


def test_light_small_images_and_noise(rng):
    level = np.array([40.0, 10.0, 20.0])
    halves = rng.poisson(level[:, None, None] / 2, (2, 3, 600, 1200)).astype(np.float32)
    images = halves.sum(axis=0)
    reported = []
    seen = survey_tilts(images, halves[0], np.array([0, 2, 1]), 3.0, 2, lambda *p: reported.append(p))
    order = [0, 2, 1]
    assert_allclose(seen.mean, images[order].mean(axis=(1, 2)), rtol=1e-5)
    assert_allclose(seen.blocks.mean(axis=(1, 2)), level[order], rtol=0.01)
    # Binned by two to 6 A for the power; the small image keeps those 300 rows.
    assert seen.small.shape == (3, 300, 600)
    assert seen.small_pixel_size_angstrom == 6.0
    assert_allclose(seen.small[0], images[0].reshape(300, 2, 600, 2).mean(axis=(1, 3)), rtol=1e-4)
    many = seen.bins.counts > 30
    # Nothing but noise: its variance is the mean over the four pixels averaged.
    assert_allclose(seen.noise_power[:, many], np.tile(level[order, None] / 4, many.sum()), rtol=0.25)
    assert_allclose(np.median(seen.power - seen.noise_power, axis=1), 0.0, atol=0.1)
    assert reported[-1] == (3, 3)


def test_without_halves_the_finest_detail_tells_the_noise(rng):
    images = rng.poisson(30.0, (2, 256, 256)).astype(np.float32)
    images[1, 10, 10] = np.nan
    seen = survey_tilts(images, None, np.array([0, 1]), 10.0, 1, lambda *p: None)
    assert_allclose(seen.noise_power, 30.0, rtol=0.1)
    assert np.isfinite(seen.small).all()
