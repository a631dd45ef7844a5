"""Smear of images by their directional power: analytic series of texture with known motion."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.image_smear import (
    directional_bins,
    directional_power,
    explaining_terms,
    fit_smears,
    power_error,
)

TILTS = np.arange(-30.0, 31.0, 5.0)
PIXEL = 8.0


def texture_series(rng, shape, smears, noise=0.5):
    """Images of fresh texture, each smeared steadily over the (y, x) path in angstrom it is given."""
    k_y = np.fft.fftfreq(shape[0], PIXEL)[:, None]
    k_x = np.fft.rfftfreq(shape[1], PIXEL)[None]
    response = np.exp(-((k_x**2 + k_y**2) * 40.0**2))
    images = []
    for i in range(len(TILTS)):
        y, x = smears.get(i, (0.0, 0.0))
        spectrum = np.fft.rfft2(rng.normal(size=shape)) * response * np.sinc(k_y * y + k_x * x)
        images.append(np.fft.irfft2(spectrum, s=shape) * 3 + rng.normal(0, noise, shape))
    return np.array(images, np.float32)


def smears_of(images, noise=0.5):
    bins = directional_bins(images.shape[1:], PIXEL)
    power = np.array([directional_power(image, bins)[0] for image in images])
    terms = explaining_terms(TILTS, 3.0 * np.arange(len(TILTS)))
    return fit_smears(power - noise**2, power_error(power, bins), bins, terms)


@pytest.mark.parametrize("shape", [(256, 256), (251, 300)])
@pytest.mark.parametrize("angle_deg", [20.0, 110.0, 0.0])
def test_length_and_direction_of_a_steady_smear(rng, shape, angle_deg):
    along = 50.0 * np.array([np.sin(np.deg2rad(angle_deg)), np.cos(np.deg2rad(angle_deg))])
    found = smears_of(texture_series(rng, shape, {3: along, 12: along}))
    assert set(np.flatnonzero(found.is_significant)) == {3, 12}
    assert_allclose(found.length_angstrom[[3, 12]], 50.0, rtol=0.2)
    turned = (found.angle_deg[[3, 12]] - angle_deg + 90) % 180 - 90
    assert_allclose(turned, 0.0, atol=8.0)  # a sector is 15 degrees wide


def test_brighter_and_coarser_images_are_not_smeared(rng):
    images = texture_series(rng, (256, 256), {})
    images[5] *= 1.3
    found = smears_of(images)
    assert not found.is_significant.any()
    assert found.length_angstrom.max() < 20.0


def test_noise_alone_is_not_judged(rng):
    found = smears_of(rng.normal(0, 0.5, (len(TILTS), 128, 128)).astype(np.float32))
    assert not found.is_significant.any()


def test_white_noise_has_the_power_of_its_variance(rng):
    image = rng.normal(0, 2.0, (300, 320)).astype(np.float32)
    bins = directional_bins(image.shape, PIXEL)
    power, finest = directional_power(image, bins)
    many = bins.counts > 30  # a median of few values lies below their mean
    assert_allclose(power[many], 4.0, rtol=0.2)
    assert finest == pytest.approx(4.0, rel=0.05)
