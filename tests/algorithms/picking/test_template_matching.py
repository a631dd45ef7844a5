"""Planted particles in a matched-filter tomogram are found with their rotations, and none in noise alone."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.picking.matched_series import matched_filter_of, search_grid
from cryoloom.algorithms.picking.template_matching import match_template
from cryoloom.algorithms.picking.templates import template_of_density
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.model import Tomogram
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene

VOXEL = 10.0
SEED = 6


def matches_of(n_particles):
    rng = np.random.default_rng(SEED)
    model = lumpy_particle(rng)
    scene = small_scene(model, n_particles, rng, noise=0.5)
    voxels = np.zeros((70, 100, 100), np.float32)
    tomogram = Tomogram(scene.series, voxels, VOXEL)
    grid = search_grid(tomogram, VOXEL, DIAMETER_ANGSTROM, VOXEL)
    matched = matched_filter_of(tomogram, grid, DIAMETER_ANGSTROM, None, rng)
    template = template_of_density(
        true_map(model, 48, 5.0), 5.0, voxel_size_angstrom=VOXEL, radius_angstrom=80.0
    )
    steps = []
    found = match_template(
        matched, template, np.eye(3)[None], np.random.default_rng(1), angular_step_deg=30.0,
        apart_angstrom=120.0, false_discovery_rate=0.05, n_decoys=2,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    return scene, found, steps


@pytest.fixture(scope="module")
def planted():
    return matches_of(9)


def test_planted_particles_are_found_and_little_else(planted):
    scene, found, steps = planted
    places = found.positions_xyz_angstrom[found.picked]
    apart = np.linalg.norm(places[:, None] - scene.positions_xyz_angstrom, axis=2)
    assert (apart.min(axis=0) < 20.0).mean() > 0.7
    assert (apart.min(axis=1) < 20.0).mean() > 0.85
    nearest = apart.argmin(axis=1)
    error = rotations_between(found.rotations[found.picked], scene.rotations[nearest])
    assert np.median(error) < 12.0
    assert steps == [(i, 7) for i in (1, 2, 3, 4, 5, 6, 7)]


def test_the_competition_is_between_the_template_and_its_decoys(planted):
    _, found, _ = planted
    assert found.evidence.shape == (3, len(found.picked))
    best = found.evidence[:, found.picked]
    assert (best[0] > best[1:].max(axis=0)).all()
    assert (found.competition.q_value[found.picked] <= 0.05).all()
    assert found.hand_evidence > 0
    amplitude = found.amplitude[found.picked]
    assert amplitude.std() < 0.4 * amplitude.mean()  # all particles are alike
    assert 0.5 < found.noise < 2.0


def test_noise_alone_has_no_particles():
    _, found, _ = matches_of(0)
    assert not found.picked.any()
