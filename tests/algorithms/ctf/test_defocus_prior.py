from __future__ import annotations

import numpy as np

from cryoloom.algorithms.ctf.defocus_prior import consensus


def test_consensus_in_a_range_narrower_than_its_kernel():
    grid = np.arange(27000.0, 33001.0, 100.0)
    curves = np.array([20.0 * np.exp(-(((grid - centre) / 300.0) ** 2)) for centre in (29000.0, 29200.0)])
    assert abs(consensus(curves, grid)[0] - 29100.0) <= 300.0


def test_an_exposure_without_rings_does_not_speak_against_those_of_others():
    grid = np.arange(20000.0, 40001.0, 100.0)
    curves = np.array([20.0 * np.exp(-(((grid - centre) / 300.0) ** 2)) for centre in (29000.0, 29200.0)])
    missing = -500.0 - 50.0 * np.sin(grid / 700.0)
    alone, silent = (consensus(some, grid)[1] for some in (curves, np.vstack([curves, missing])))
    # One in ten is thought to show none: log 10.
    assert alone - 3.0 < silent < alone
    assert consensus(np.vstack([missing, missing]), grid)[1] < 0
