"""Azimuths that particles show by themselves, against those of a refinement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cryoloom.geometry.rotations import rotation_z
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.model import ParticleRows
from cryoloom.procedures.own_azimuths import LEAST_AZIMUTH_AGREEMENT, azimuth_agreement
from cryoloom.procedures.particle_passes import SeriesWorker
from cryoloom.simulate.particles import ParticleModel
from makers.context import MemoryContext
from makers.particle_scene import true_map
from makers.small_particles import small_scene


def test_right_azimuths_agree_and_those_at_random_do_not(rng):
    lumps = np.array([[38.0, 12.0, 20.0], [30.0, -4.0, -28.0], [14.0, 8.0, 40.0]])
    points = np.concatenate([lump + rng.normal(0, 6, (40, 3)) for lump in lumps])
    every = np.concatenate([points @ turn.T for turn in symmetry_matrices("C4")])
    model = ParticleModel("fourfold", every.astype(np.float32), np.full(len(every), 8.0, np.float32))
    scene = small_scene(model, 12, rng)
    template = torch.tensor(true_map(model, 32, 6.0))

    def agreement(turns: np.ndarray) -> float:
        rows = ParticleRows.of(
            scene.series.name,
            scene.positions_xyz_angstrom,
            rotations=scene.rotations @ rotation_z(turns),
        )
        rows = replace(rows, half=1 + np.arange(12) % 2)
        context = MemoryContext()
        worker = SeriesWorker(context, (scene.series,), rows, 200.0)
        return azimuth_agreement(worker, rows, template, 6.0, 120.0, "C4", context)

    # Equivalents are the same pose, and all may be turned together.
    assert agreement(90.0 * rng.integers(0, 4, 12) + 20.0) > 0.8
    # Every azimuth once: their mean is 0 where each is known to some degrees.
    assert agreement(90.0 * np.arange(12) / 12) < LEAST_AZIMUTH_AGREEMENT
