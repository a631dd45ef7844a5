"""16-bit floats: kept where rounding is far below the noise."""

import numpy as np
import pytest

from cryoloom.algorithms.images.half_precision import keeps_half_precision


@pytest.mark.parametrize(
    ("counts", "kept"), [(1.0, True), (30.0, True), (1000.0, True), (3900.0, False), (60000.0, False)]
)
def test_counts_of_electrons(rng, counts, kept):
    assert keeps_half_precision(rng.poisson(counts, (300, 301)).astype(np.float32)) is kept


@pytest.mark.parametrize(("scale", "kept"), [(1.0, True), (1e-4, True), (1e-8, False)])
def test_small_values(rng, scale, kept):
    """Below 6e-5 steps are as wide as there."""
    assert keeps_half_precision((scale * rng.standard_normal((200, 200))).astype(np.float32)) is kept


def test_a_single_value_is_kept():
    assert keeps_half_precision(np.full((20, 20), 3.0, np.float32))
