"""An image filtered in slabs is the image filtered at once."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.series.radial_weighting import weighted_by_frequency


@pytest.mark.parametrize("shape", [(64, 80), (65, 37), (33, 96)])
def test_slabs_make_no_difference(rng, shape):
    image = rng.normal(size=shape).astype(np.float32)
    length = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    at = np.linspace(0, 0.5**0.5, 2048)
    table = np.exp(-5 * at).astype(np.float32)
    out = np.empty_like(image)
    weighted_by_frequency(lambda a, b: image[a:b], table, out, ScratchBuffers())
    expected = np.fft.irfft2(np.fft.rfft2(image) * np.exp(-5 * length), s=shape)
    assert_allclose(out, expected, atol=2e-6)
