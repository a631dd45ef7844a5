from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.fourier import crop_rfft
from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.series.derived_pixels import DoseWeighted
from cryoloom.algorithms.series.low_frequencies import Window, low_frequencies

# Of spectra of 12,000 float32 values of 5: 5e-5 of a value, where sizes are odd.
ATOL = 0.01
DOSES = ((0.0, 3.0), (57.0, 60.0))


def whole(image: np.ndarray, shape: tuple[int, int]) -> torch.Tensor:
    """The spectrum by a transform of the whole image."""
    image = torch.from_numpy(np.ascontiguousarray(image))
    return crop_rfft(torch.fft.rfft2(image), (image.shape[0], image.shape[1]), shape)


@pytest.mark.parametrize("size", [(96, 128), (95, 128), (96, 127), (95, 127)])
@pytest.mark.parametrize("shape", [(24, 32), (94, 126)])
def test_is_the_cropped_spectrum_of_the_image(size, shape, device, rng):
    images = rng.normal(5, 2, (2, *size)).astype(np.float32)
    low = low_frequencies(images, 1, shape, ScratchBuffers(), device=device)
    assert_allclose(
        low.spectrum.cpu(), whole(images[1], shape), atol=0.01
    )  # 5e-5 of a value: float32, odd sizes
    assert low.mean == pytest.approx(images[1].mean(), rel=1e-5)
    assert low.deviation_at_most == pytest.approx(images[1].std(), rel=1e-4)


@pytest.mark.parametrize("section", [0, 1])
def test_weights_are_those_of_the_weighted_image(section, device, rng):
    images = rng.normal(5, 2, (2, 96, 128)).astype(np.float32)
    weighted = DoseWeighted(images, DOSES, "mean", 300.0, 4.0)
    low = low_frequencies(weighted, section, (48, 64), ScratchBuffers(), device=device)
    assert_allclose(low.spectrum.cpu(), whole(weighted[section], (48, 64)), atol=ATOL)
    assert low.mean == pytest.approx(weighted[section].mean(), rel=1e-5)
    assert low.deviation_at_most >= weighted[section].std()


def test_weights_multiply_where_images_are_weighted_twice(rng):
    images = rng.normal(5, 2, (2, 64, 64)).astype(np.float32)
    twice = DoseWeighted(DoseWeighted(images, DOSES, "mean", 300.0, 4.0), DOSES, "end", 300.0, 4.0)
    low = low_frequencies(twice, 1, (32, 32), ScratchBuffers())
    assert_allclose(low.spectrum, whole(twice[1], (32, 32)), atol=ATOL)


def test_a_window_is_cut_out_before_it_is_transformed(device, rng):
    images = rng.normal(5, 2, (1, 100, 120)).astype(np.float32)
    window = Window(range(3, 99), range(10, 106))
    low = low_frequencies(images, 0, (32, 32), ScratchBuffers(), window=window, device=device)
    assert_allclose(low.spectrum.cpu(), whole(images[0, 3:99, 10:106], (32, 32)), atol=ATOL)


def test_missing_pixels_count_as_nothing_or_spoil_everything(rng):
    images = rng.normal(5, 2, (1, 64, 64)).astype(np.float32)
    empty = images.copy()
    images[0, 7, 9], images[0, 40, 3] = np.nan, np.inf
    empty[0, 7, 9] = empty[0, 40, 3] = 0.0
    low = low_frequencies(images, 0, (32, 32), ScratchBuffers(), skip_missing=True)
    assert_allclose(low.spectrum, whole(empty[0], (32, 32)), atol=ATOL)
    spoilt = low_frequencies(images, 0, (32, 32), ScratchBuffers())
    assert not np.isfinite(spoilt.mean)
    assert not torch.isfinite(torch.fft.irfft2(spoilt.spectrum, s=(32, 32))).any()


def test_the_shape_must_be_even_and_not_larger(rng):
    images = np.zeros((1, 64, 64), np.float32)
    for shape in ((33, 32), (66, 64)):
        with pytest.raises(ValueError, match="expected an even shape"):
            low_frequencies(images, 0, shape, ScratchBuffers())
