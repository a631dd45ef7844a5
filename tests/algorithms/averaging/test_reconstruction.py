"""Maps from particles at known poses: the map itself, whatever the batch, the symmetry or the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.reconstruction import (
    Insertion,
    expected_cube,
    expected_sums,
    insert_particles,
    prior_precision,
    symmetrised,
)
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation, soft_sphere
from cryoloom.geometry.symmetry import symmetry_matrices
from makers.posed_images import BOX_PX, cube_of, made_images, random_map

HIGHEST = 11.0
N = 150


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(5)
    density = random_map(rng)
    rotations, shifts = Rotation.random(N, rng).as_matrix(), rng.normal(0, 4.0, (N, 3))
    return density, made_images(cube_of(density), rotations, shifts, 200.0, rng), rotations, shifts


def inserted(scene, which=slice(None), importance=None):
    _, images, rotations, shifts = scene
    into = Insertion(BOX_PX, HIGHEST)
    chosen = np.arange(N)[which]
    insert_particles(images, into, chosen, rotations[which], shifts[which], importance)
    return into


def test_the_map_comes_back(scene):
    mask = soft_sphere(BOX_PX, 9, 2)
    found = inserted(scene).sums().map()
    assert shell_correlation(found * mask, scene[0] * mask)[1:9].min() > 0.97
    mirrored = torch.roll(torch.flip(scene[0], (0,)), 1, 0)
    assert shell_correlation(found * mask, mirrored * mask)[3:9].max() < 0.7


def test_sums_of_parts_are_those_of_the_whole_and_importance_is_a_factor(scene):
    whole = inserted(scene)
    parts = inserted(scene, slice(0, 70))
    parts.add(inserted(scene, slice(70, None)))
    torch.testing.assert_close(parts.data, whole.data, rtol=1e-4, atol=1e-3 * float(whole.data.abs().max()))
    twice = inserted(scene, importance=np.full(N, 2.0))
    torch.testing.assert_close(twice.weights, 2 * whole.weights, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(twice.sums().map(), whole.sums().map(), rtol=1e-3, atol=1e-3)


def test_a_prior_as_precise_as_the_data_halves_the_map(scene):
    sums = inserted(scene).sums()
    weights = sums.shell_weights()
    plain, weak = sums.map(np.zeros_like(weights)), sums.map(1e-9 * weights)
    torch.testing.assert_close(weak, plain, rtol=1e-3, atol=1e-3)
    held = sums.map(1e6 * weights)
    assert float(held.abs().max()) < 1e-4 * float(plain.abs().max())
    # SNR of a half is FSC / (1 - FSC): at 0.5 the prior weighs as much as the data.
    assert_allclose(prior_precision(np.array([4.0, 4.0]), np.array([0.5, 0.8])), [4.0, 1.0])
    assert np.isfinite(prior_precision(np.ones(3), np.array([-0.2, 0.0, 1.0]))).all()


def test_a_symmetric_map_stays_and_another_gets_the_symmetry():
    axis = np.arange(BOX_PX) - BOX_PX // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")

    def blobs(places):
        bumps = [np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 8.0) for a, b, c in places]
        return torch.tensor(np.sum(bumps, axis=0), dtype=torch.float32)

    one = np.array([[5.0, 1.0, 3.0]])
    four = np.concatenate([one @ operator.T for operator in symmetry_matrices("C4")])
    torch.testing.assert_close(symmetrised(blobs(four), "C4"), blobs(four), rtol=0, atol=0.01)
    torch.testing.assert_close(symmetrised(blobs(one), "C4"), blobs(four) / 4, rtol=0, atol=0.01)
    torch.testing.assert_close(symmetrised(blobs(one), "C1"), blobs(one))


def test_equivalents_in_fourier_space_are_those_in_real_space(scene):
    group = "D2"
    in_fourier = inserted(scene).sums(group).map()
    in_space = symmetrised(inserted(scene).sums().map(), group)
    mask = soft_sphere(BOX_PX, 8, 2)
    assert shell_correlation(in_fourier * mask, in_space * mask)[1:7].min() > 0.95


def test_an_expected_map_stands_where_no_image_contributes(scene):
    density = scene[0]
    empty = Insertion(BOX_PX, HIGHEST).sums()
    precision = np.full(int(HIGHEST) + 1, 3.0)
    found = replace(empty, data=expected_sums(expected_cube(density, HIGHEST), precision)).map(precision)
    inside = soft_sphere(BOX_PX, 0.3 * BOX_PX, 4.0)
    curve = shell_correlation(found * inside, density * inside)
    assert curve[1 : int(HIGHEST) - 1].min() > 0.99
    coarse = [low_pass(one, 1.0, BOX_PX / 8.0) * inside for one in (found, density)]
    assert_allclose(coarse[0], coarse[1], atol=0.1 * float(coarse[1].std()))
