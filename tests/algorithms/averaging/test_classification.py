"""Likelihoods of classes, principal differences and clusters on images that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.classification import (
    class_log_likelihoods,
    class_probabilities,
    clusters_of,
    difference_terms,
    insert_classes,
    insert_difference,
)
from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.algorithms.averaging.pose_search import frames_of
from cryoloom.geometry.projection import projection_matrices
from cryoloom.kernels.slices.fourier_slices import take_slices

BOX = 16


@pytest.fixture(scope="module")
def made():
    """Six images sets without noise: a mean map plus coefficients times another."""
    rng = np.random.default_rng(3)
    plane = HalfPlane.of_box(BOX, 5.0)
    mean, part = torch.zeros((2, BOX, BOX, BOX))
    mean[5:12, 4:11, 5:12] = torch.tensor(rng.uniform(0, 1, (7, 7, 7)), dtype=torch.float32)
    part[9:12, 6:10, 5:8] = 1.0
    cubes = [cube_of_map(one, float(plane.radius[-1])) for one in (mean, part)]
    matrices = projection_matrices(85.0, np.array([-50.0, -20.0, 0.0, 30.0, 55.0]), 0.0)
    rotations = Rotation.random(6, rng).as_matrix()
    coefficients = np.array([0.0, 1.0, 0.0, 1.0, -0.5, 2.0])
    m = len(plane.kxy)
    weights = rng.uniform(0.5, 1.5, (6, 5, m)).astype(np.float32)
    frames = frames_of(matrices, rotations).reshape(-1, 2, 3)
    slices = [take_slices(cube, frames, plane.samples).reshape(6, 5, m).numpy() for cube in cubes]
    data = weights * (slices[0] + coefficients[:, None, None] * slices[1])
    images = ParticleImages(
        plane, matrices, np.arange(5), data.astype(np.complex64), weights, np.ones((6, 5), bool)
    )
    return images, cubes, rotations, coefficients, slices


def test_each_particle_prefers_what_it_is(made):
    images, cubes, rotations, _, slices = made
    both = [cubes[0], cubes[0] + cubes[1]]
    found = class_log_likelihoods(images, both, rotations, len(images.plane.kxy), junk=True)
    assert found.shape == (6, 3)
    assert found[:, :2].argmax(axis=1)[:4].tolist() == [0, 1, 0, 1]
    expected = (images.data * slices[0].conj()).real.sum((1, 2)) - 0.5 * (
        images.weights * np.abs(slices[0]) ** 2
    ).sum((1, 2))
    assert_allclose(found[:, 0], expected, rtol=1e-4)
    # A shell explains less than the particle, and nothing is explained by no image at all.
    assert (found[:4, 2] < found[:4, :2].max(axis=1)).all()
    nothing = images.take(np.array([0]))
    nothing.data[:] = -nothing.data
    against = class_log_likelihoods(nothing, both, rotations[:1], len(images.plane.kxy), junk=True)
    assert against[0, 2] == 0.0
    assert (against[0, :2] < 0).all()


def test_coefficients_of_the_true_difference_return(made):
    images, cubes, rotations, coefficients, _ = made
    slope, curvature = difference_terms(images, cubes[0], [cubes[1]], rotations, len(images.plane.kxy))
    assert_allclose(slope[:, 0] / curvature[:, 0, 0], coefficients, atol=1e-3)
    two = difference_terms(images, cubes[0], [cubes[0], cubes[1]], rotations, len(images.plane.kxy))
    assert_allclose(two[1], np.swapaxes(two[1], 1, 2))
    solved = np.linalg.solve(two[1], two[0][..., None])[..., 0]
    assert_allclose(solved, np.stack([np.zeros(6), coefficients], axis=-1), atol=1e-2)


def test_the_difference_is_what_the_coefficients_weigh(made):
    images, cubes, rotations, coefficients, _ = made
    highest = float(images.plane.radius[-1])
    sums = insert_difference(
        images, cubes[0], [], rotations, coefficients[:, None], np.zeros(6), highest
    ).sums()
    found = sums.map()
    true = torch.zeros((BOX,) * 3)
    true[9:12, 6:10, 5:8] = 1.0
    assert np.corrcoef(found.numpy().ravel(), true.numpy().ravel())[0, 1] > 0.8


def test_sums_of_classes_add_up_to_that_of_all(made):
    images, _, rotations, _, _ = made
    rng = np.random.default_rng(1)
    share = rng.uniform(0.1, 0.9, 6)
    highest = float(images.plane.radius[-1])
    parts = insert_classes(images, rotations, np.stack([share, 1 - share], axis=-1), highest)
    (whole,) = insert_classes(images, rotations, np.ones((6, 1)), highest)
    scale = whole.data.abs().max()
    assert (parts[0].data + parts[1].data - whole.data).abs().max() < 1e-5 * scale


def test_probabilities_follow_likelihoods_and_shares():
    likelihoods = np.array([[1000.0, 998.0], [0.0, 0.0]])
    found = class_probabilities(likelihoods, np.array([0.25, 0.75]))
    assert_allclose(found.sum(axis=1), 1.0)
    assert_allclose(found[0, 0] / found[0, 1], np.exp(2.0) / 3.0)
    assert_allclose(found[1], [0.25, 0.75])
    assert_allclose(class_probabilities(likelihoods, np.ones(2), exponent=0.5)[0, 0], 1 / (1 + np.exp(-1)))


def test_clusters_are_found():
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.normal(centre, 0.2, (20, 2)) for centre in ((0, 0), (3, 0), (0, 2))])
    labels = clusters_of(points, 3, rng)
    assert sorted(np.bincount(labels).tolist()) == [20, 20, 20]
    assert all(len(set(labels[20 * k : 20 * k + 20])) == 1 for k in range(3))
