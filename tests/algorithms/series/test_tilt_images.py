"""Working images of a series: small, flat, without outliers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.series.tilt_images import (
    TiltImages,
    band_pass,
    band_response,
    edge_taper,
    load_tilt_images,
    shrink_images,
)


def test_images_are_binned_about_their_centre_and_normalised(rng):
    stack = 100 + rng.normal(0, 10, (2, 93, 130)).astype(np.float32)
    made = load_tilt_images(stack, 5.0, 15.0)
    assert made.shape_yx == (30, 42)  # whole and even blocks of 3 x 3
    assert made.pixel_size_angstrom == 15.0
    assert made.field_angstrom == 450.0
    np.testing.assert_allclose(made.mean, 100, atol=0.5)
    np.testing.assert_allclose(made.deviation, 10 / 3, rtol=0.1)
    np.testing.assert_allclose(made.images.mean(dim=(1, 2)), 0, atol=0.1)
    np.testing.assert_allclose(made.images.std(dim=(1, 2)), 1, atol=0.2)


def test_a_point_at_the_centre_stays_there(rng):
    stack = rng.normal(0, 0.01, (1, 96, 120)).astype(np.float32)
    stack[0, 48 - 6 : 48 + 6, 60 - 6 : 60 + 6] -= 1.0
    image = load_tilt_images(stack, 5.0, 15.0, highpass_angstrom=1e9).images[0].numpy()
    y, x = np.unravel_index(np.argmin(image), image.shape)
    assert abs(y - 16) <= 2
    assert abs(x - 20) <= 2


def test_hot_pixels_and_gaps_do_not_set_the_scale(rng):
    stack = rng.normal(50, 5, (1, 64, 64)).astype(np.float32)
    clean = load_tilt_images(stack, 10.0, 10.0).images
    stack[0, 10, 10], stack[0, 40, 40] = 1e7, np.nan
    spoilt = load_tilt_images(stack, 10.0, 10.0).images
    assert bool(torch.isfinite(spoilt).all())
    inside = torch.ones((64, 64), dtype=torch.bool)
    inside[5:16, 5:16] = inside[35:46, 35:46] = False
    difference = (spoilt - clean)[0][inside]
    assert float(difference.std()) < 0.2


def test_an_image_of_one_value_is_zero():
    assert not load_tilt_images(np.full((1, 32, 32), 7.0, np.float32), 10.0, 10.0).images.any()


def test_images_are_shrunk_only_where_they_are_larger(rng):
    ones = np.ones(2)
    images = TiltImages(torch.from_numpy(rng.normal(size=(2, 120, 160))).float(), 10.0, ones, ones)
    small = shrink_images(images, 60)
    assert min(small.shape_yx) == 60
    assert small.pixel_size_angstrom == pytest.approx(20.0, rel=0.01)
    assert shrink_images(images, 110) is images


def test_half_of_the_amplitude_passes_at_both_periods():
    response = band_response((64, 64), 16.0, 4.0)
    assert float(response[0, 4]) == pytest.approx(0.5, abs=0.03)  # a period of 16 pixels
    assert float(response[0, 16]) == pytest.approx(0.5, abs=0.03)  # of 4
    assert float(response[0, 0]) == 0.0
    assert float(band_response((64, 64), 0.0, 0.0).min()) == 1.0


def test_a_wave_passes_as_the_response_says():
    x = torch.arange(64) * 2 * torch.pi / 16
    image = torch.sin(x).repeat(64, 1)
    np.testing.assert_allclose(
        band_pass(image, 16.0, 4.0), image * band_response((64, 64), 16.0, 4.0)[0, 4], atol=1e-5
    )


def test_a_window_falls_to_zero_over_its_width():
    window = edge_taper((20, 40), 0.25)
    assert window.shape == (20, 40)
    assert float(window[10, 20]) == 1.0
    assert float(window[10, 0]) < 0.01
    np.testing.assert_allclose(window, window.flip(0).flip(1))
