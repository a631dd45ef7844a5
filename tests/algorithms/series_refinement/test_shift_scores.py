"""Scores of image shifts are those of the shifted images, and their slopes are the slopes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.series_refinement.shift_scores import projections, shell_terms, shift_scores
from cryoloom.geometry.projection import projection_matrices

BOX, PIXEL = 16, 4.0


@pytest.fixture(scope="module")
def particles():
    """Three particles in four tilts, displaced in their images by known amounts, without noise."""
    rng = np.random.default_rng(2)
    density = torch.zeros((BOX,) * 3)
    density[4:12, 5:12, 5:11] = torch.tensor(rng.normal(size=(8, 7, 6)), dtype=torch.float32)
    plane = HalfPlane.of_box(BOX, PIXEL)
    cubes = (cube_of_map(density, float(plane.radius[-1])),) * 2
    matrices = projection_matrices(80.0, np.array([-40.0, -10.0, 20.0, 50.0]), 0.0)
    n, m = 3, len(plane.kxy)
    weights = rng.uniform(0.5, 1.5, (n, 4, m)).astype(np.float32)
    images = ParticleImages(
        plane, matrices, np.arange(4), np.zeros((n, 4, m), np.complex64), weights, np.ones((n, 4), bool)
    )
    rotations = np.broadcast_to(np.eye(3), (n, 3, 3))
    model = projections(images, cubes, np.zeros(n, np.int64), rotations, slice(0, n), m).numpy()
    shifts = rng.uniform(-6.0, 6.0, (n, 4, 2))
    turns = shifts @ plane.kxy.T / plane.box_angstrom
    images.data[:] = weights * model * np.exp(-2j * np.pi * turns)
    return images, cubes, rotations, shifts, model


def test_values_are_those_of_the_shifted_images(particles):
    images, cubes, rotations, _, model = particles
    n_used = images.plane.n_within(9.0)
    scores = shift_scores(images, cubes, np.zeros(3, np.int64), rotations, n_used, 10.0)
    assert scores.range_angstrom >= 10.0
    trial = np.random.default_rng(4).uniform(-8.0, 8.0, (3, 4, 2))
    turns = trial @ images.plane.kxy[:n_used].T / images.plane.box_angstrom
    product = images.data[..., :n_used] * model[..., :n_used].conj()
    expected = (product * np.exp(2j * np.pi * turns)).real.sum(axis=-1)
    value, gradient = scores.at(trial)
    # Cubic splines through four samples a period are good to a part in a hundred.
    assert_allclose(value, expected, atol=0.02 * np.abs(expected).max())
    step = 1e-3
    for axis in (0, 1):
        moved = trial.copy()
        moved[..., axis] += step
        back = trial.copy()
        back[..., axis] -= step
        slope = (scores.at(moved)[0] - scores.at(back)[0]) / (2 * step)
        assert_allclose(gradient[..., axis], slope, atol=1e-4 * np.abs(gradient).max() + 1e-5)


def test_the_maximum_is_at_the_displacement_and_as_sharp_as_reported(particles):
    images, cubes, rotations, shifts, _ = particles
    n_used = images.plane.n_within(9.0)
    scores = shift_scores(images, cubes, np.zeros(3, np.int64), rotations, n_used, 10.0)
    _, gradient = scores.at(shifts)
    there = np.einsum("ntab,ntb->nta", np.linalg.inv(scores.information), gradient)
    assert np.abs(there).max() < 0.1
    # Minus the curvature at the maximum is the information.
    step = np.array([0.3, 0.0])
    slope = (scores.at(shifts + step)[1] - scores.at(shifts - step)[1]) / 0.6
    assert_allclose(-slope, scores.information[..., 0], rtol=0.1, atol=0.05 * scores.information.max())


def test_terms_of_shells_sum_to_the_whole(particles):
    images, cubes, rotations, _, model = particles
    terms = shell_terms(images, cubes, np.zeros(3, np.int64), rotations, len(images.plane.kxy))
    cross = (images.data * model.conj()).real.sum(axis=-1)
    quadratic = (images.weights * np.abs(model) ** 2).sum(axis=-1)
    assert_allclose(terms[..., 0].sum(axis=-1), cross, rtol=1e-4, atol=1e-4 * np.abs(cross).max())
    assert_allclose(terms[..., 1].sum(axis=-1), quadratic, rtol=1e-4)


def test_each_particle_is_compared_with_its_own_cube(particles):
    images, cubes, rotations, _, _ = particles
    two = (cubes[0], 2.0 * cubes[0])
    which = np.array([0, 1, 0])
    terms = shell_terms(images, two, which, rotations, len(images.plane.kxy))
    alone = shell_terms(images, cubes, np.zeros(3, np.int64), rotations, len(images.plane.kxy))
    assert_allclose(terms[..., 0], alone[..., 0] * np.array([1.0, 2.0, 1.0])[:, None, None], rtol=1e-4)
