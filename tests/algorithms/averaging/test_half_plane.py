"""Each independent frequency once, from low to high."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.half_plane import HalfPlane


def test_of_every_pair_of_opposite_frequencies_one_is_there():
    plane = HalfPlane.of_box(16, 2.0)
    there = {tuple(k) for k in plane.kxy.tolist()}
    assert len(there) == len(plane.kxy)
    assert (0, 0) not in there
    for kx, ky in there:
        assert kx >= 0
        if kx == 0:
            assert ky > 0
    ky, kx = np.mgrid[-7:8, -7:8]
    whole = np.count_nonzero((np.hypot(kx, ky) <= 7.5) & ((kx != 0) | (ky != 0)))
    assert 2 * len(there) == whole


def test_a_band_is_a_prefix():
    plane = HalfPlane.of_box(32, 2.0)
    assert (np.diff(plane.radius) >= 0).all()
    n = plane.n_within(16.0)
    assert (plane.radius[:n] <= 4.0).all()
    assert (plane.radius[n:] > 4.0).all()
    assert plane.frequency_per_angstrom[0] == pytest.approx(1 / 64.0)
    assert HalfPlane.of_box(32, 2.0, finest_angstrom=16.0).kxy.tolist() == plane.kxy[:n].tolist()
    assert set(plane.shell[:n]) == {1, 2, 3, 4}


def test_the_samples_of_a_wave_are_one_frequency():
    plane = HalfPlane.of_box(16, 1.0)
    y, x = np.mgrid[:16, :16]
    wave = np.cos(2 * np.pi * (3 * x - 2 * y) / 16)
    taken = plane.take(torch.fft.rfft2(torch.tensor(wave))).abs().numpy()
    highest = int(np.argmax(taken))
    assert plane.kxy[highest].tolist() == [3, -2]
    assert np.delete(taken, highest).max() < 1e-9 * taken[highest]


def test_an_odd_box_is_refused():
    with pytest.raises(ValueError, match="expected an even box, got 15"):
        HalfPlane.of_box(15, 1.0)
