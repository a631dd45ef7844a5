"""Extracted images against truth: signs, depth, scale, and the precision that poses claim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.particle_images import (
    choose_boxes,
    delocalisation_angstrom,
    extract_images,
)
from cryoloom.algorithms.averaging.pose_refinement import refine_poses
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.model import Sourced, Stack
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, PIXEL_ANGSTROM, lumpy_particle, small_scene


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(4)
    model = lumpy_particle(rng)
    return model, small_scene(model, 12, rng, noise=0.5)


def extracted(scene, series=None, resolution=14.0):
    series = series or scene.series
    layout = choose_boxes(
        DIAMETER_ANGSTROM, resolution, PIXEL_ANGSTROM, delocalisation_angstrom(series, resolution)
    )
    images = extract_images(series, series.stack.images, scene.positions_xyz_angstrom, layout)
    return images, layout


def likelihood(model, scene, images, layout):
    density = torch.tensor(2 * true_map(model, layout.crop_px, layout.pixel_size_angstrom))
    cube = cube_of_map(density, float(images.plane.radius[-1]))
    still = np.zeros((images.n, 3))
    return refine_poses(images, cube, scene.rotations, still, len(images.plane.kxy), n_rounds=0), cube


def test_the_truth_explains_the_images_at_full_strength(truth):
    model, scene = truth
    images, layout = extracted(scene)
    found, _ = likelihood(model, scene, images, layout)
    cross, quadratic = found.terms.sum(axis=(0, 1))
    # The noise spectrum holds the particles too, which changes weights and not the strength.
    assert cross / quadratic == pytest.approx(1.0, abs=0.05)
    by_tilt = found.terms[..., 0].sum(0) / found.terms[..., 1].sum(0)
    assert by_tilt == pytest.approx(np.ones(len(by_tilt)), abs=0.15)


def test_the_wrong_hand_of_the_defocus_fits_worse(truth):
    model, scene = truth
    right, layout = extracted(scene, resolution=11.0)
    other = replace(scene.series, handedness=Sourced.from_told(-1.0, "test"))
    wrong, _ = extracted(scene, other, resolution=11.0)
    best, _ = likelihood(model, scene, right, layout)
    worse, _ = likelihood(model, scene, wrong, layout)
    assert best.terms[..., 0].sum() > worse.terms[..., 0].sum() + 20


def test_refined_poses_are_as_good_as_they_say(truth):
    model, scene = truth
    images, layout = extracted(scene)
    _, cube = likelihood(model, scene, images, layout)
    rng = np.random.default_rng(0)
    start = rng.normal(0, 1.5, (images.n, 3))
    found = refine_poses(images, cube, scene.rotations, start, len(images.plane.kxy), n_rounds=8)
    angle = rotations_between(found.rotations, scene.rotations)
    shift = np.linalg.norm(found.shifts_xyz_angstrom, axis=1)
    # Of three components together, in units of their root-sum-square deviation; neighbours are in no model.
    assert 0.3 < np.sqrt(np.mean((angle / found.angle_sd_deg) ** 2)) < 2.0
    assert 0.3 < np.sqrt(np.mean((shift / found.shift_sd_angstrom) ** 2)) < 2.5


def test_particles_outside_a_tilt_have_no_weight_there(truth):
    _, scene = truth
    away = np.array([5000.0, 0.0, 0.0])
    far = replace(scene, positions_xyz_angstrom=scene.positions_xyz_angstrom + away)
    images, _ = extracted(far)
    assert not images.visible.any()
    assert (images.weights == 0).all()


def test_nan_in_an_image_is_refused(truth):
    from cryoloom.errors import DataUnfitError

    _, scene = truth
    broken = np.array(scene.series.stack.images)
    broken[3, 5, 7] = np.nan
    series = replace(scene.series, stack=Stack(broken, PIXEL_ANGSTROM))
    with pytest.raises(DataUnfitError, match="not finite"):
        extracted(scene, series)
