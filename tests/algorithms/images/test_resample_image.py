"""Binning: values, centre and square pixels kept, nothing folded back from beyond Nyquist."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.resample_image import bin_image, binned_frame


@pytest.mark.parametrize("shape", [(240, 360), (241, 363), (1023, 1440)])
@pytest.mark.parametrize("binning", [1.0, 2.0, 3.0, 2.5, 1.47, 3.7037])
def test_pixels_are_square_and_of_the_size_wanted(shape, binning):
    frame = binned_frame(shape, binning)
    y, x = (k / b for k, b in zip(frame.kept_yx, frame.binned_yx, strict=True))
    assert abs(y - x) * max(shape) / binning < 0.5  # of a pixel over the field
    assert abs(frame.binning - binning) * max(shape) / binning < 0.5
    assert all(k <= n for k, n in zip(frame.kept_yx, shape, strict=True))
    assert all(n - k < 66 * binning for k, n in zip(frame.kept_yx, shape, strict=True))


@pytest.mark.parametrize("shape", [(240, 360), (241, 363)])
@pytest.mark.parametrize("binning", [2.0, 3.0, 2.5])
def test_a_blob_keeps_its_place_and_the_mean_its_value(shape, binning):
    """A wide Gaussian at (13.3, -21.7) pixels from the centre, on a level of 5."""
    y, x = (np.arange(n) - n // 2 for n in shape)
    blob = np.exp(-((y[:, None] - 13.3) ** 2 + (x[None] + 21.7) ** 2) / (2 * 8.0**2))
    frame = binned_frame(shape, binning)
    small = bin_image(torch.from_numpy((5 + blob).astype(np.float32)), frame).numpy() - 5
    b_y, b_x = (np.arange(n) - n // 2 for n in small.shape)
    assert (small.sum(1) @ b_y) / small.sum() * frame.binning == pytest.approx(13.3, abs=0.05)
    assert (small.sum(0) @ b_x) / small.sum() * frame.binning == pytest.approx(-21.7, abs=0.05)
    assert small.max() == pytest.approx(1.0, abs=0.03)


def test_nothing_is_folded_back():
    """A wave beyond the new Nyquist vanishes; one within keeps its amplitude."""
    n = 256
    x = np.arange(n)
    frame = binned_frame((n, n), 4.0)
    for cycles, kept in ((20, 1.0), (40, 0.0), (100, 0.0)):
        wave = np.cos(2 * np.pi * cycles * x / n)[None].repeat(n, 0).astype(np.float32)
        small = bin_image(torch.from_numpy(wave), frame).numpy()
        assert np.abs(small).max() == pytest.approx(kept, abs=1e-3)


def test_no_binning_changes_nothing(rng):
    image = torch.from_numpy(rng.normal(size=(31, 40)).astype(np.float32))
    np.testing.assert_array_equal(bin_image(image, binned_frame((31, 40), 1.0)).numpy()[:30], image[:30])
