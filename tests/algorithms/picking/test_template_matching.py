"""Planted particles in a matched-filter tomogram are found with their rotations, and none in noise alone."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.picking.matched_filter import make_matched_filter
from cryoloom.algorithms.picking.template_matching import match_template
from cryoloom.algorithms.picking.templates import template_of_density
from cryoloom.algorithms.reconstruction.tomogram_grid import tomogram_grid
from cryoloom.geometry.orientation_grid import rotations_between
from makers.particle_scene import true_map
from makers.small_particles import lumpy_particle, small_scene

VOXEL = 10.0
SEED = 6


def matches_of(n_particles):
    rng = np.random.default_rng(SEED)
    model = lumpy_particle(rng)
    scene = small_scene(model, n_particles, rng, noise=0.5)
    grid = tomogram_grid(
        scene.series, scene.series.stack, binning=None, voxel_size_angstrom=VOXEL, thickness_angstrom=700.0,
        length_angstrom=None, width_angstrom=None,
    )  # fmt: skip
    matched = make_matched_filter(scene.series, grid)
    template = template_of_density(
        true_map(model, 48, 5.0), 5.0, voxel_size_angstrom=VOXEL, radius_angstrom=80.0
    )
    steps = []
    found = match_template(
        matched, template, np.eye(3)[None], np.random.default_rng(1), angular_step_deg=20.0,
        apart_angstrom=120.0, false_discovery_rate=0.05, n_decoys=2,
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    return scene, found, steps


@pytest.fixture(scope="module")
def planted():
    return matches_of(12)


def test_planted_particles_are_found_and_little_else(planted):
    scene, found, steps = planted
    places = found.positions_xyz_angstrom[found.picked]
    apart = np.linalg.norm(places[:, None] - scene.positions_xyz_angstrom, axis=2)
    assert (apart.min(axis=0) < 20.0).mean() > 0.7
    assert (apart.min(axis=1) < 20.0).mean() > 0.85
    nearest = apart.argmin(axis=1)
    error = rotations_between(found.rotations[found.picked], scene.rotations[nearest])
    assert np.median(error) < 10.0
    assert steps == [(i, 7) for i in (1, 2, 3, 4, 5, 6, 7)]


def test_the_competition_is_between_the_template_and_its_decoys(planted):
    _, found, _ = planted
    assert found.evidence.shape == (3, len(found.picked))
    best = found.evidence[:, found.picked]
    assert (best[0] > best[1:].max(axis=0)).all()
    assert (found.competition.q_value[found.picked] <= 0.05).all()
    assert found.hand_evidence > 0
    assert np.median(found.amplitude[found.picked]) == pytest.approx(1.0, abs=0.35)
    assert 0.5 < found.noise < 2.0


def test_noise_alone_has_no_particles():
    _, found, _ = matches_of(0)
    assert not found.picked.any()
