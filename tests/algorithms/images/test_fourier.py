from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.fourier import fourier_resize, good_fft_size, shift_images


def gaussian(shape: tuple[int, int], centre: tuple[float, float], sigma: float) -> torch.Tensor:
    y, x = np.indices(shape)
    return torch.from_numpy(
        np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * sigma**2)).astype(np.float32)
    )


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (64, 63), (63, 65)])
def test_the_centre_stays_the_centre_when_binned(shape, device):
    image = gaussian(shape, (shape[0] // 2, shape[1] // 2), 4.0).to(device)
    small = fourier_resize(image, (32, 32)).cpu()
    expected = gaussian((32, 32), (16, 16), 1.0)
    y, x = np.indices((32, 32))
    centre = [float((small * torch.from_numpy(i)).sum() / small.sum()) for i in (y, x)]
    # Odd sizes shrink by 63/32, not 2: the width differs by a percent, the centre does not.
    assert_allclose(centre, (16, 16), atol=0.02)
    assert float(small.max()) == pytest.approx(1.0, abs=0.03)
    assert small.shape == expected.shape


@pytest.mark.parametrize("shape", [(64, 64), (63, 64), (64, 63)])
def test_shift_moves_content_to_larger_indices(shape, device):
    moved = shift_images(gaussian(shape, (30, 31), 3.0).to(device), torch.tensor([2.5, -1.25], device=device))
    assert_allclose(moved.cpu(), gaussian(shape, (32.5, 29.75), 3.0), atol=1e-4)


def test_resize_keeps_the_mean(rng):
    image = torch.from_numpy(rng.normal(5, 1, (96, 128)).astype(np.float32))
    assert float(fourier_resize(image, (48, 64)).mean()) == pytest.approx(float(image.mean()), rel=1e-5)


@pytest.mark.parametrize(("n", "expected"), [(7, 8), (511, 512), (1023, 1024), (1441, 1458), (4092, 4096)])
def test_good_sizes_have_small_factors(n, expected):
    assert good_fft_size(n) == expected
