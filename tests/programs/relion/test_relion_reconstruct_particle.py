"""RELION's average at the present poses."""

from __future__ import annotations

from cryoloom.programs.relion.relion_reconstruct_particle import (
    RelionReconstructParticleParams,
    relion_reconstruct_particle,
)
from makers.relion_stand_ins import RECONSTRUCT


def test_map_and_halves(particles, context, stand_in):
    stand_in("relion_tomo_reconstruct_particle", RECONSTRUCT)
    params = RelionReconstructParticleParams(box_px=32, crop_px=16, symmetry="C6", outer_threads=2)
    made = relion_reconstruct_particle((particles,), params, context)
    assert made.map.shape == made.half1.shape == made.half2.shape == (16, 16, 16)
    assert made.voxel_size_angstrom == 4.0
    assert made.resolution_angstrom is None
    assert made.diameter_angstrom == 60.0
    assert context.figures["n_particles"] == 4
