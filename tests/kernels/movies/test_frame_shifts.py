"""Likelihood gradients of shifts, ring powers and moved sums: beside their definitions and one another."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cryoloom.kernels.movies.frame_shifts import add_moved, likelihood_gradient, ring_powers
from cryoloom.kernels.movies.frame_shifts_torch import (
    add_moved_torch,
    likelihood_gradient_torch,
    ring_powers_torch,
)

N_FRAMES, N_Y, N_X, N_RINGS = 5, 24, 17, 6


def ramps(shifts_yx):
    """Phase ramps that move frames of N_Y x 2 (N_X - 1) back by the given shifts."""
    y, x = np.fft.fftfreq(N_Y), np.arange(N_X) / (2 * (N_X - 1))
    along = [np.exp(2j * math.pi * np.outer(s, f)) for s, f in zip(shifts_yx.T, (y, x), strict=True)]
    return [torch.from_numpy(a.astype(np.complex64)) for a in along]


@pytest.fixture
def rings():
    """Ring of each coefficient, -1 on the axes and beyond the last, and the columns that can be used."""
    y, x = np.fft.fftfreq(N_Y)[:, None], np.arange(N_X)[None] / (2 * (N_X - 1))
    ring = np.floor(np.hypot(y, x) * 2 * N_RINGS).astype(np.int16)
    ring[ring >= N_RINGS] = -1
    ring[0] = ring[:, 0] = -1
    reach = np.where((ring >= 0).any(axis=1), N_X - np.argmax(ring[:, ::-1] >= 0, axis=1), 0)
    return torch.from_numpy(ring), torch.from_numpy(reach.astype(np.int64))


@pytest.fixture
def spectra(rng):
    white = rng.standard_normal((2, N_FRAMES, N_Y, N_X))
    return torch.from_numpy((white[0] + 1j * white[1]).astype(np.complex64))


def by_ring(rng, pattern):
    alpha = rng.uniform(0.1, 2.0, N_RINGS).astype(np.float32)
    beta = rng.uniform(0.1, 1.0, N_RINGS).astype(np.float32) if pattern else np.zeros(N_RINGS, np.float32)
    weight = rng.uniform(0.5, 2.0, N_RINGS).astype(np.float32)
    return [torch.from_numpy(a) for a in (alpha, beta, weight)]


def log_likelihood(spectra, shifts, rings, alpha, beta, weight):
    """Of the Gaussian model, up to a constant: ``-(d^H C^-1 d + log det C)`` summed over coefficients."""
    ramp_y, ramp_x = (r.numpy().astype(complex) for r in ramps(shifts))
    total = 0.0
    for y, x in np.argwhere(rings[0].numpy() >= 0):
        r = int(rings[0][y, x])
        noise = 1 / float(weight[r])
        moves = (ramp_y[:, y] * ramp_x[:, x]).conj()
        still = np.ones(N_FRAMES)
        covariance = noise * (
            np.eye(N_FRAMES)
            + float(alpha[r]) * np.outer(moves, moves.conj())
            + float(beta[r]) * np.outer(still, still)
        )
        d = spectra[:, y, x].numpy().astype(complex)
        total -= (d.conj() @ np.linalg.solve(covariance, d)).real + np.linalg.slogdet(covariance)[1]
    return total


@pytest.mark.parametrize("pattern", [False, True])
def test_the_gradient_is_the_slope_of_the_likelihood(rng, spectra, rings, pattern):
    shifts = rng.normal(0, 0.7, (N_FRAMES, 2))
    numbers = by_ring(rng, pattern)
    made = likelihood_gradient(spectra, *ramps(shifts), *rings, *numbers)
    size = np.array([N_Y, 2 * (N_X - 1)])
    step = 1e-3
    for frame, axis in ((0, 0), (3, 1), (4, 0)):
        ends = []
        for sign in (-1, 1):
            moved = shifts.copy()
            moved[frame, axis] += sign * step
            ends.append(log_likelihood(spectra, moved, rings, *numbers))
        slope = (ends[1] - ends[0]) / (2 * step)
        # Frames move back by a positive shift here, and columns stand for two coefficients each.
        assert 4 * math.pi * float(made[frame, axis]) / size[axis] == pytest.approx(-slope, rel=0.02, abs=0.3)


@pytest.mark.parametrize("pattern", [False, True])
def test_parallel_serial_and_torch_give_the_same_gradient(rng, spectra, rings, pattern):
    arguments = (spectra, *ramps(rng.normal(size=(N_FRAMES, 2))), *rings, *by_ring(rng, pattern))
    made = likelihood_gradient(*arguments)
    # Compiled apart, they round apart; how many threads there are changes no bit.
    torch.testing.assert_close(likelihood_gradient(*arguments, serial=True), made, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(likelihood_gradient_torch(*arguments), made, rtol=1e-3, atol=1e-3)


def test_powers_are_sums_over_rings(rng, spectra, rings):
    ramp_y, ramp_x = ramps(rng.normal(size=(N_FRAMES, 2)))
    made = ring_powers(spectra, ramp_y, ramp_x, *rings, N_RINGS)
    serial = ring_powers(spectra, ramp_y, ramp_x, *rings, N_RINGS, serial=True)
    torch.testing.assert_close(serial, made, rtol=1e-6, atol=1e-6)
    twin = ring_powers_torch(spectra, ramp_y, ramp_x, *rings, N_RINGS)
    torch.testing.assert_close(twin, made, rtol=1e-4, atol=1e-4)
    inside = rings[0] == 3
    both = ramp_y[:, :, None] * ramp_x[:, None]
    expected = [
        inside.sum(),
        (spectra.abs() ** 2).mean(0)[inside].sum(),
        ((spectra * both).sum(0).abs() ** 2)[inside].sum(),
        (spectra.sum(0).abs() ** 2)[inside].sum(),
        (both.sum(0).abs() ** 2)[inside].sum(),
    ]
    np.testing.assert_allclose(made[:, 3], [float(e) for e in expected], rtol=1e-4)


@pytest.mark.parametrize("first_half", [0, 1])
def test_frames_are_added_to_the_two_sums_in_turn(rng, spectra, first_half):
    small_y, small_x = 10, 7
    ramp_y, ramp_x = (r[:, :n] for r, n in zip(ramps(rng.normal(size=(N_FRAMES, 2))), (10, 7), strict=True))
    sums = torch.zeros((2, small_y, small_x), dtype=torch.complex64)
    add_moved(sums, spectra, ramp_y.contiguous(), ramp_x.contiguous(), first_half)
    rows = np.r_[0:5, N_Y - 5 : N_Y]
    moved = spectra[:, rows, :small_x] * (ramp_y[:, :, None] * ramp_x[:, None])
    halves = [moved[0::2].sum(0), moved[1::2].sum(0)]
    torch.testing.assert_close(sums[first_half], halves[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sums[1 - first_half], halves[1], rtol=1e-4, atol=1e-4)
    twin = torch.zeros_like(sums)
    add_moved_torch(twin, spectra, ramp_y, ramp_x, first_half)
    torch.testing.assert_close(twin, sums, rtol=1e-4, atol=1e-4)


def test_types_and_shapes_are_checked(rng, spectra, rings):
    ramp_y, ramp_x = ramps(np.zeros((N_FRAMES, 2)))
    with pytest.raises(TypeError, match=r"expected complex64, got torch.complex128"):
        ring_powers(spectra.to(torch.complex128), ramp_y, ramp_x, *rings, N_RINGS)
    with pytest.raises(ValueError, match="do not fit spectra"):
        likelihood_gradient(spectra, ramp_y[:, 1:], ramp_x, *rings, *by_ring(rng, False))
    with pytest.raises(ValueError, match="are smaller than the sums"):
        add_moved(torch.zeros((2, N_Y, N_X), dtype=torch.complex64), spectra[:, :4], ramp_y, ramp_x, 0)
