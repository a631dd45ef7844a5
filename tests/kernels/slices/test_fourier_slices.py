"""Fourier slices: value, transpose and derivatives, on both back ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.geometry.rotations import rotation_y
from cryoloom.kernels.slices.fourier_slices import (
    cube_shape,
    insert_slices,
    score_poses,
    sum_equivalents,
    take_slices,
)
from cryoloom.kernels.slices.fourier_slices_torch import (
    insert_slices_torch,
    score_poses_torch,
    sum_equivalents_torch,
    take_slices_torch,
)

REACH = 5


def a_problem(rng, n=6):
    """A smooth Hermitian cube, slices through it, and samples of a half plane."""
    cube = torch.zeros(cube_shape(2 * REACH), dtype=torch.complex64)
    half = cube.shape[0] // 2
    z, y, x = torch.meshgrid(
        torch.arange(-half, half + 1.0),
        torch.arange(-half, half + 1.0),
        torch.arange(0, half + 2.0),
        indexing="ij",
    )
    # Points near the centre: the sum of their waves is smooth over a voxel.
    for place in torch.tensor(rng.normal(0, 0.01, (8, 3)), dtype=torch.float32):
        cube += torch.exp(-2j * math.pi * (x * place[0] + y * place[1] + z * place[2]))
    frames = 2 * torch.tensor(Rotation.random(n, rng).as_matrix()[:, :2], dtype=torch.float32)
    ky, kx = np.mgrid[-REACH : REACH + 1, 0 : REACH + 1]
    inside = (np.hypot(ky, kx) <= REACH) & ((kx > 0) | (ky > 0))
    samples = torch.tensor(np.stack([kx[inside], ky[inside]], -1), dtype=torch.float32)
    return cube, frames, samples


def test_slices_of_a_smooth_cube_are_its_values(rng):
    cube, frames, samples = a_problem(rng)
    found = take_slices(cube, frames, samples)
    expected = take_slices_torch(cube, frames, samples)[0]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    opposite = take_slices(cube, -frames, samples)
    torch.testing.assert_close(opposite, found.conj(), rtol=1e-4, atol=1e-4)


def test_insertion_is_the_transpose_of_slicing(rng):
    cube, frames, samples = a_problem(rng)
    shape = (len(frames), len(samples))
    data = torch.tensor(rng.normal(size=(*shape, 2)), dtype=torch.float32)
    data = torch.view_as_complex(data.contiguous())
    weights = torch.tensor(rng.uniform(0, 1, shape), dtype=torch.float32)
    added, added_weights = torch.zeros_like(cube), torch.zeros(cube.shape)
    insert_slices(data, weights, frames, samples, added, added_weights)
    slices = take_slices(cube, frames, samples)
    left = (slices.conj() * data).real.double().sum()
    right = (cube.conj() * added).real.double().sum()
    assert float(left) == pytest.approx(float(right), rel=1e-5)
    assert float(added_weights.sum()) == pytest.approx(float(weights.sum()), rel=1e-5)
    other, other_weights = torch.zeros_like(cube), torch.zeros(cube.shape)
    insert_slices_torch(data, weights, frames, samples, other, other_weights)
    torch.testing.assert_close(added, other, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(added_weights, other_weights, rtol=1e-4, atol=1e-4)


def a_score_problem(rng, n=3, n_tilts=4):
    cube, _, samples = a_problem(rng)
    turns = Rotation.random(n, rng).as_matrix()
    tilts = rotation_y(np.linspace(-40, 40, n_tilts))
    shape = (n, n_tilts, len(samples))
    data = torch.view_as_complex(torch.tensor(rng.normal(size=(*shape, 2)), dtype=torch.float32))
    weights = torch.tensor(rng.uniform(0.1, 0.3, shape), dtype=torch.float32)
    shifts = torch.tensor(rng.normal(0, 0.02, (n, 3)), dtype=torch.float32)

    def score(turned, shifted):
        frames = torch.tensor(2 * (tilts[None] @ turned[:, None])[:, :, :2], dtype=torch.float32)
        return score_poses(cube, data, weights, frames.contiguous(), shifted, samples), frames

    return cube, data, weights, samples, turns, shifts, score


def test_scores_agree_with_torch(rng):
    cube, data, weights, samples, turns, shifts, score = a_score_problem(rng)
    found, frames = score(turns, shifts)
    expected = score_poses_torch(cube, data, weights, frames, shifts, samples)
    for ours, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5 * scale)


def test_the_gradient_is_that_of_the_score(rng):
    _, _, _, _, turns, shifts, score = a_score_problem(rng)
    gradient = score(turns, shifts)[0][1]
    # Single precision leaves 1e-5 of a score of hundreds; trilinear values have kinks between cells.
    step = 2e-3
    for a in range(6):
        values = []
        for sign in (1, -1):
            turned, shifted = turns, shifts.clone()
            if a < 3:
                turned = turns @ Rotation.from_rotvec(sign * step * np.eye(3)[a]).as_matrix()
                # The gradient holds the shift in the specimen's frame; here it is given in the reference's.
                back = Rotation.from_rotvec(-sign * step * np.eye(3)[a]).as_matrix()
                shifted = torch.tensor(shifts.numpy() @ back.T, dtype=torch.float32)
            else:
                shifted[:, a - 3] += sign * step * 0.01
            terms = score(turned, shifted)[0][0]
            values.append((terms[..., 0] - 0.5 * terms[..., 1]).sum(1))
        slope = (values[0] - values[1]) / (2 * (step if a < 3 else step * 0.01))
        scale = float(gradient[:, a].abs().max())
        torch.testing.assert_close(gradient[:, a], slope, rtol=0.03, atol=0.03 * scale)


def test_samples_outside_the_cube_are_refused(rng):
    cube, frames, samples = a_problem(rng)
    with pytest.raises(ValueError, match="reach"):
        take_slices(cube, 2 * frames, samples)


EQUIVALENT_SUMS = [sum_equivalents, sum_equivalents_torch]


@pytest.mark.parametrize("summing", EQUIVALENT_SUMS)
def test_quarter_turns_add_the_voxels_they_lead_to(summing, rng):
    shape = cube_shape(4)
    half = shape[0] // 2
    data = torch.complex(*torch.tensor(rng.normal(size=(2, *shape)), dtype=torch.float32))
    weights = torch.tensor(rng.uniform(size=shape), dtype=torch.float32)
    # About z: (x, y, z) to (-y, x, z).
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found, found_weights = summing(data, weights, torch.stack([torch.eye(3), turn]), 4.0)
    for x, y, z in [(2, 1, -1), (1, -3, 2), (0, 0, 4), (3, 0, 0)]:
        to = np.array([-y, x, z])
        sign = -1 if to[0] < 0 else 1
        ix, iy, iz = sign * to
        other = data[iz + half, iy + half, ix]
        expected = data[z + half, y + half, x] + (other.conj() if sign < 0 else other)
        torch.testing.assert_close(found[z + half, y + half, x], expected)
        expected = weights[z + half, y + half, x] + weights[iz + half, iy + half, ix]
        torch.testing.assert_close(found_weights[z + half, y + half, x], expected)
    assert float(found_weights[half, half + 3, 3]) == 0.0  # beyond 4 voxels


def test_both_versions_sum_equivalents_alike(rng):
    cube = a_problem(rng)[0]
    weights = cube.abs()
    operators = torch.tensor(Rotation.random(4, rng).as_matrix(), dtype=torch.float32)
    by_loop, by_torch = (summing(cube, weights, operators, 2.0 * REACH) for summing in EQUIVALENT_SUMS)
    torch.testing.assert_close(by_loop[0], by_torch[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(by_loop[1], by_torch[1], rtol=1e-4, atol=1e-4)
