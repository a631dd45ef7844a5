"""RELION's first map: two programs, and particles that carry the map on."""

from __future__ import annotations

from cryoloom.programs.relion.relion_initial_model import RelionInitialModelParams, relion_initial_model
from makers.relion_stand_ins import ALIGN_SYMMETRY, REFINE


def test_the_map_becomes_the_particles_template(extracted, context, stand_in):
    stand_in("relion_refine", REFINE)
    stand_in("relion_align_symmetry", ALIGN_SYMMETRY)
    made = relion_initial_model((extracted,), RelionInitialModelParams(iterations=40, symmetry="C6"), context)
    (item,) = made.others["particles"]
    assert item.template is made.main
    assert made.main.symmetry == "C6"
    assert made.main.voxel_size_angstrom == 5.0
    assert item.n_particles == extracted.n_particles
