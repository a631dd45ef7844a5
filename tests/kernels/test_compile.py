"""One loop, compiled for all threads and for the calling thread."""

from __future__ import annotations

import numpy as np
from numba import prange

from cryoloom.kernels.compile import parallel_and_serial


def _double(values, out):
    """Twice the values."""
    for i in prange(len(values)):
        out[i] = 2 * values[i]


double, double_serial = parallel_and_serial(_double, error_model="numpy")


def test_both_versions_give_the_same(rng):
    values = rng.normal(size=1000).astype(np.float32)
    made = np.empty((2, 1000), np.float32)
    double(values, made[0])
    double_serial(values, made[1])
    np.testing.assert_array_equal(made[0], 2 * values)
    np.testing.assert_array_equal(made[0], made[1])


def test_the_versions_have_names_of_their_own_in_the_cache():
    assert double.targetoptions["parallel"]
    assert not double_serial.targetoptions.get("parallel", False)
    assert (double.__name__, double_serial.__name__) == ("_double", "_double_serial")
    assert double_serial.__doc__ == "Twice the values."
    assert all(version.targetoptions["nogil"] for version in (double, double_serial))
