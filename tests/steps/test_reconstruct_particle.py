"""Averages at true poses agree with the truth as their halves say."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.algorithms.averaging.shell_correlation import first_fall, shell_correlation
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.steps.reconstruct_particle import ReconstructParticleParams, reconstruct_particle
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle, small_scene


def averaged(scene, rotations, pose_doubt="", **params):
    rows = ParticleRows.of(scene.series.name, scene.positions_xyz_angstrom, rotations=rotations)
    particles = Particles(
        scene.series.name, ArrayTable(rows.columns()), (scene.series,), diameter_angstrom=DIAMETER_ANGSTROM,
        pose_doubt=pose_doubt,
    )  # fmt: skip
    context = MemoryContext()
    made = reconstruct_particle((particles,), ReconstructParticleParams(**params), context)
    return made, context


def test_the_map_is_the_particle():
    rng = np.random.default_rng(6)
    model = lumpy_particle(rng)
    scene = small_scene(model, 24, rng)
    made, context = averaged(scene, scene.rotations)
    density = np.asarray(made.map)
    truth = true_map(model, density.shape[0], made.voxel_size_angstrom)
    mask = torch.tensor(np.asarray(made.mask))
    fsc = shell_correlation(torch.tensor(density) * mask, torch.tensor(truth) * mask)
    box = density.shape[0] * made.voxel_size_angstrom
    assert (fsc[2 : int(box / 25)] > 0.9).all()
    # Halves at 0.143 are the whole at 0.5 against the truth, to the noise of few particles.
    against_truth = first_fall(fsc, 0.5, box)
    assert made.resolution_angstrom is not None
    assert 0.8 < made.resolution_angstrom / against_truth < 1.25
    assert context.figures["n_particles"] == 24


def test_poses_that_were_in_doubt_when_they_were_found_get_no_resolution():
    rng = np.random.default_rng(6)
    scene = small_scene(lumpy_particle(rng), 24, rng)
    made, context = averaged(scene, scene.rotations, "shells do not tell", finest_resolution_angstrom=20.0)
    assert made.resolution_angstrom is None
    assert made.pose_doubt == "shells do not tell"
    assert "gives no resolution: shells do not tell" in context.reasons_not_measurable["resolution_angstrom"]
    assert np.isfinite(np.asarray(made.map)).all()


def test_random_orientations_get_no_resolution():
    rng = np.random.default_rng(7)
    model = lumpy_particle(rng)
    scene = small_scene(model, 16, rng)
    _, context = averaged(scene, rng.permutation(scene.rotations))
    assert "resolution_angstrom" not in context.figures or context.figures["resolution_angstrom"] > 35
    assert context.figures["pose_evidence"] < 0.35


def test_a_symmetry_the_average_does_not_have_is_reported():
    rng = np.random.default_rng(6)
    model = lumpy_particle(rng)
    scene = small_scene(model, 16, rng)
    _, context = averaged(scene, scene.rotations, symmetry="C4", finest_resolution_angstrom=20.0)
    assert context.figures["symmetry_likeness"] < 0.3
    assert any("did not have the symmetry C4" in warning for warning in context.warnings)
    counts = [
        value for row in context.records["directions"] for value in row.values() if isinstance(value, int)
    ]
    assert sum(counts) == 16
