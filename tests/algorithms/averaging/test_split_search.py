"""Gains of left-out tilts, and simulated twins of particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.maps import map_on_grid, radial_terms
from cryoloom.algorithms.averaging.particle_images import choose_boxes, extract_images
from cryoloom.algorithms.averaging.passes import Poses, SearchGrid
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.split_search import _gained, _twins, split_search_pass
from cryoloom.geometry.orientation_grid import rotation_grid
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene


@pytest.fixture(scope="module")
def extracted():
    """Images of eight particles, and the half cube of their map."""
    rng = np.random.default_rng(6)
    model = lumpy_particle(rng)
    scene = small_scene(model, 8, rng)
    layout = choose_boxes(DIAMETER_ANGSTROM, 30.0, scene.series.stack.pixel_size_angstrom, 30.0)
    images = extract_images(scene.series, scene.series.stack.images, scene.positions_xyz_angstrom, layout)
    density = map_on_grid(true_map(model, 48, 5.0), 5.0, layout.crop_px, layout.pixel_size_angstrom)
    cube = cube_of_map(density, float(images.plane.radius[-1]))
    cross, quadratic = radial_terms(images, cube, images.plane.n_within(30.0))
    return scene, images, cube * (cross / quadratic)


def test_a_gain_is_relative_to_the_others():
    chosen = np.array([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    tested = np.array([[5.0, 1.0, 3.0], [2.0, 2.0, 2.0], [1.0, 1.0, 4.0]])
    np.testing.assert_allclose(_gained(chosen, tested, exchanges=True), [3.0, 0.0, 3.0])
    np.testing.assert_allclose(_gained(chosen, tested, exchanges=False), [2.0, 0.0, 2.0])
    # What all particles prefer, as in a missing wedge, is no gain.
    same = np.array([[9.0, 0.0, 0.0]] * 3)
    np.testing.assert_allclose(_gained(same, same, exchanges=True), 0.0)


def test_twins_have_the_particles_amplitude_and_noise(extracted, rng):
    scene, images, cube = extracted
    n_used = images.plane.n_within(30.0)
    images = replace(images, data=images.data[..., :n_used], weights=images.weights[..., :n_used])
    no_shift = np.zeros((images.n, 3))
    made = _twins(images, cube, scene.rotations, no_shift, n_used, rng, fits_scale=False)
    again = _twins(images, cube, scene.rotations, no_shift, n_used, rng, fits_scale=False)
    weights = images.weights
    # |n|^2 has the mean 2 W; the difference of two has twice that.
    noise = np.abs(made.data - again.data) ** 2
    assert noise.sum() == pytest.approx(4.0 * weights.sum(), rel=0.05)
    # The amplitude of these particles is 1.
    fitted = _twins(images, cube, scene.rotations, no_shift, n_used, rng, fits_scale=True)
    parallel = (fitted.data * made.data.conj()).real.sum() / (np.abs(made.data) ** 2).sum()
    assert parallel == pytest.approx(1.0, abs=0.35)


def test_particles_gain_as_their_twins_do_and_turned_ones_too(extracted, rng):
    scene, images, cube = extracted
    poses = Poses(
        1 + np.arange(images.n) % 2, scene.rotations[::-1], np.zeros((images.n, 3)), PosePrior(12.0)
    )
    grid = SearchGrid(rotation_grid(20.0), shift_grid(6.0, 6.0))
    n_used = images.plane.n_within(35.0)
    gains = split_search_pass(images, (cube, cube), (cube, cube), poses, grid, n_used, rng)
    assert gains.shape == (images.n, 3)
    np.testing.assert_array_equal(gains[:, 1], 0.0)
    assert gains[:, 0].mean() > 0
    assert gains[:, 0].mean() == pytest.approx(gains[:, 2].mean(), rel=0.4)
