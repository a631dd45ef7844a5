"""Positions of images in one another, to a fraction of a pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from cryoloom.algorithms.images.correlate import (
    Overlap,
    correlation_peaks,
    cross_correlation,
    find_peaks,
    half_whitened,
    overlap_correlation,
)


def smooth(rng, shape, n=1):
    white = torch.fft.rfft2(torch.from_numpy(rng.standard_normal((n, *shape))))
    y, x = torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])
    return torch.fft.irfft2(white * torch.exp(-((torch.hypot(y, x) / 0.15) ** 2)), s=shape).float()


def moved(images, shift_yx):
    shape = tuple(images.shape[-2:])
    y, x = torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])
    turn = torch.exp(-2j * torch.pi * (y * shift_yx[0] + x * shift_yx[1]))
    return torch.fft.irfft2(torch.fft.rfft2(images) * turn, s=shape)


def flat(shape):
    response = torch.ones((shape[0], shape[1] // 2 + 1))
    response[0, 0] = 0
    return response


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (64, 63)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -5.0), (-4.3, 2.6)])
def test_a_moved_image_is_found_where_it_is(rng, shape, shift):
    image = smooth(rng, shape)
    peaks = correlation_peaks(image, moved(image, shift), flat(shape), 12.0)
    # A parabola through three points of a peak about three pixels wide.
    np.testing.assert_allclose(peaks.shifts_yx_px[0], shift, atol=0.1)
    assert float(peaks.prominence[0]) > 10


def test_equal_images_correlate_to_one(rng):
    image = smooth(rng, (64, 64))
    maps = cross_correlation(image, image, flat((64, 64)))
    assert float(maps[0, 0, 0]) == pytest.approx(
        1.0, abs=0.1
    )  # the norm counts the first and last column twice


def test_nothing_is_found_beyond_the_search(rng):
    image = smooth(rng, (64, 64))
    peaks = correlation_peaks(image, moved(image, (15.0, 0.0)), flat((64, 64)), 6.0)
    assert float(torch.hypot(*peaks.shifts_yx_px[0])) <= 6.5


def test_pairs_are_found_one_by_one(rng):
    images = smooth(rng, (48, 48), n=3)
    shifts = [(1.0, 2.0), (-3.0, 0.0), (0.0, 4.0)]
    moving = torch.stack([moved(image, shift) for image, shift in zip(images, shifts, strict=True)])
    peaks = correlation_peaks(images, moving, flat((48, 48)), 8.0)
    np.testing.assert_allclose(peaks.shifts_yx_px, shifts, atol=0.1)


def test_images_that_overlap_in_part_correlate_fully_there(rng):
    whole = smooth(rng, (96, 96))[0]
    first, second = whole[:64, :64], whole[20:84, 8:72]
    pad = (0, 64, 0, 64)
    ones = functional.pad(torch.ones((64, 64)), pad)
    maps = overlap_correlation(
        Overlap(functional.pad(first, pad), ones), Overlap(functional.pad(second, pad), ones)
    )
    peak = find_peaks(maps, 40.0)
    np.testing.assert_allclose(peak.shifts_yx_px, (-20, -8), atol=0.1)
    part = (44 * 56) / 64**2
    assert float(peak.height) == pytest.approx(part**0.5, abs=0.05)
    assert float(maps[64, 64]) == 0.0  # hardly any pixel of both


def test_half_whitened_images_have_unit_deviation(rng):
    images = half_whitened(5.0 * smooth(rng, (64, 48), n=2), flat((64, 48)))
    np.testing.assert_allclose(images.flatten(-2).std(dim=-1), 1.0, rtol=1e-3)
