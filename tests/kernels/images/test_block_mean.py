import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.kernels.images.block_mean import block_mean


@pytest.mark.parametrize(("shape", "factor"), [((12, 15), 3), ((8, 9), 1), ((10, 23), 5)])
def test_blocks_are_averaged_and_the_rest_is_dropped(rng, shape, factor):
    rows = rng.normal(size=shape).astype(np.float32)
    n_y, n_x = (n // factor for n in shape)
    out = np.full((n_y, n_x), np.nan, np.float32)
    block_mean(rows, out)
    whole = rows[: n_y * factor, : n_x * factor].reshape(n_y, factor, n_x, factor)
    assert_allclose(out, whole.mean(axis=(1, 3)), rtol=1e-5, atol=1e-6)


def test_what_is_not_finite_counts_as_zero():
    rows = np.array([[1, np.nan], [np.inf, 3]], np.float32)
    out = np.empty((1, 1), np.float32)
    block_mean(rows, out)
    assert out[0, 0] == 1.0
