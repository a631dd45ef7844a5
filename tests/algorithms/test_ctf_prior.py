from __future__ import annotations

import numpy as np

from cryoloom.algorithms.ctf_prior import consensus


def test_consensus_in_a_range_narrower_than_its_kernel():
    grid = np.arange(27000.0, 33001.0, 100.0)
    curves = np.array([20.0 * np.exp(-(((grid - centre) / 300.0) ** 2)) for centre in (29000.0, 29200.0)])
    assert abs(consensus(curves, grid)[0] - 29100.0) <= 300.0
