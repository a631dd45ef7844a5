from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.kernels.images.bin_power import bin_power


def test_powers_are_added_to_their_bins(rng):
    spectrum = (rng.normal(size=50) + 1j * rng.normal(size=50)).astype(np.complex64)
    bins = rng.integers(-1, 4, 50).astype(np.int32)
    power = np.full(5, 2.0)
    bin_power(spectrum, bins, power)
    expected = [2.0 + (np.abs(spectrum[bins == i]).astype(float) ** 2).sum() for i in range(5)]
    assert_allclose(power, expected, rtol=1e-6)
    assert power[4] == 2.0
