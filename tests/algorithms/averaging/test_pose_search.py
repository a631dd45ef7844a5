"""The search by matrix products against a plain loop over poses, and against known poses."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.pose_search import (
    direction_prior,
    frames_of,
    marginal_likelihoods,
    search_poses,
    shift_grid,
    shift_phases,
)
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.kernels.slices.fourier_slices import take_slices
from makers.posed_images import made_images, random_cube

BAND_ANGSTROM = 24.0


@pytest.fixture
def cube(rng):
    return random_cube(rng)


def brute_force(images, cube, rotations, shifts, n_used, temperature, log_prior):
    """Log posterior (particle, rotation) over the shifts, and the best log-likelihood."""
    slices = take_slices(cube, frames_of(images.matrices, rotations).reshape(-1, 2, 3), images.plane.samples)
    model = slices.reshape(len(rotations), len(images.matrices), -1).numpy()[..., :n_used]
    turns = shift_phases(images, shifts, n_used).numpy()
    total = np.zeros((images.n, len(rotations), len(shifts)))
    for p in range(images.n):
        data, weights = images.data[p, :, :n_used], images.weights[p, :, :n_used]
        for r in range(len(rotations)):
            quadratic = (weights * np.abs(model[r]) ** 2).sum()
            for s in range(len(shifts)):
                total[p, r, s] = (data * turns[s] * model[r].conj()).real.sum() - 0.5 * quadratic
    highest = total.max(axis=2)
    scaled = temperature * total
    top = scaled.max(axis=2)
    marginal = top + np.log(np.exp(scaled - top[..., None]).sum(axis=2)) + log_prior
    return marginal, highest


@pytest.mark.parametrize(("step_angstrom", "temperature"), [(3.0, 1.0), (10.0, 1.0), (3.0, 0.15)])
def test_posterior_is_that_of_a_plain_loop(step_angstrom, temperature, cube, rng):
    # Steps of 3 A are far finer than the band, so a basis is used; those of 10 A are taken as they are.
    n = 5
    rotations, shifts = rotation_grid(55.0), shift_grid(10.0, step_angstrom)
    images = made_images(cube, Rotation.random(n, rng).as_matrix(), rng.normal(0, 2, (n, 3)), 12.0, rng)
    n_used = images.plane.n_within(BAND_ANGSTROM)
    directions, width = rng.standard_normal((n, 3)), np.full(n, 25.0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    log_prior = direction_prior(rotations, directions, width)

    found = search_poses(
        images, cube, rotations, shifts, n_used, log_prior=log_prior, temperature=temperature
    )

    marginal, highest = brute_force(images, cube, rotations, shifts, n_used, temperature, log_prior)
    if temperature == 1.0:
        scored = marginal_likelihoods(images, cube, rotations, shifts, n_used)
        np.testing.assert_allclose(scored + log_prior, marginal, rtol=1e-4, atol=2e-2)
    weight = np.exp(marginal - marginal.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    best = weight.argmax(axis=1)
    assert np.array_equal(found.rotation[:, 0], best)
    np.testing.assert_allclose(found.log_likelihood, highest[np.arange(n), best], rtol=1e-4, atol=1e-2)
    entropy = -(weight * np.log(np.maximum(weight, 1e-300))).sum(axis=1)
    # Rotations with a weight below exp(-13) are scored approximately: the entropy hardly changes.
    np.testing.assert_allclose(found.n_effective, np.exp(entropy), rtol=2e-3)
    for p in range(n):
        kept = found.weight[p] > 0
        np.testing.assert_allclose(
            found.weight[p][kept] / found.weight[p][0],
            weight[p][found.rotation[p][kept]] / weight[p][best[p]],
            rtol=5e-3,
        )


def test_finds_known_poses(cube, rng):
    rotations, shifts = rotation_grid(40.0), shift_grid(12.0, 4.0)
    true_rotation = rng.integers(0, len(rotations), 20)
    true_shift = rng.integers(0, len(shifts), 20)
    images = made_images(cube, rotations[true_rotation], shifts[true_shift], 30.0, rng)

    found = search_poses(images, cube, rotations, shifts, images.plane.n_within(BAND_ANGSTROM))

    assert np.array_equal(found.rotation[:, 0], true_rotation)
    assert np.array_equal(found.shift[:, 0], true_shift)
