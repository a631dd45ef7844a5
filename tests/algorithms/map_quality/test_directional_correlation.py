"""Halves that are sharp along one axis and blunt along another."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.algorithms.map_quality.directional_correlation import directional_correlation

N, VOXEL = 40, 3.0


def test_the_blunt_axis_is_found(rng):
    kz = np.abs(np.fft.fftfreq(N, 1 / N))[:, None, None]
    # Signal ends at shell 5 along z and goes on along x and y.
    seen = np.broadcast_to(kz <= 5, (N, N, N // 2 + 1))
    signal = np.fft.irfftn(np.fft.rfftn(rng.standard_normal((N,) * 3)) * seen, s=(N,) * 3, axes=(0, 1, 2))
    halves = [torch.tensor(signal + 0.2 * rng.standard_normal((N,) * 3)) for _ in range(2)]
    found = directional_correlation((halves[0], halves[1]), torch.ones((N,) * 3), VOXEL, N // 2 - 1)
    assert np.abs(found.directions[found.worst, 2]) > 0.9
    assert np.abs(found.directions[found.best, 2]) < 0.5
    along_z = found.resolution_angstrom[np.abs(found.directions[:, 2]) > 0.95]
    across = found.resolution_angstrom[np.abs(found.directions[:, 2]) < 0.2]
    assert along_z.min() > 11.0  # cones are 20 degrees wide and shells smoothed by two
    assert across.max() < 7.0
    assert found.occupancy[2] == 1.0
    assert found.occupancy[15] < 0.9
    assert found.curves.shape == (len(found.directions), N // 2)
