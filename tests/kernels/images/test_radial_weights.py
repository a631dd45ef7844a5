import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.kernels.images.radial_weights import weight_radially


@pytest.mark.parametrize("shape", [(20, 11), (21, 8)])
def test_weights_are_those_interpolated_in_the_table(rng, shape):
    spectrum = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    fy, fx = (rng.uniform(-0.5, 0.5, n).astype(np.float32) for n in shape)
    fy[0], fx[0] = 0.0, 0.0
    table = rng.uniform(size=50).astype(np.float32)
    length = np.hypot(fy[:, None], fx[None])
    highest = float(length.max())
    expected = spectrum * np.interp(length, np.linspace(0, highest, 50), table)
    weight_radially(spectrum, fy, fx, table, highest)
    assert_allclose(spectrum, expected, atol=2e-5)
