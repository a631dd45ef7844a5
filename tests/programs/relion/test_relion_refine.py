"""RELION's refinement: what it is given, and poses that go by the particles' names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.contract.program import Workplace
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.programs.relion.relion_refine import RelionRefineParams, calls, relion_refine
from makers.relion_stand_ins import MPIRUN, REFINE


@pytest.fixture
def relion(stand_in):
    stand_in("relion_refine_mpi", REFINE)
    stand_in("mpirun", MPIRUN)


def test_poses_are_those_that_relion_found(extracted, average, context, relion):
    item = replace(extracted, template=average, pose_doubt="shells do not tell", common_reference="a map")
    made = relion_refine((item,), RelionRefineParams(symmetry="C6"), context)
    (found,) = made.others["particles"]
    rows, before = found.rows(), item.rows()
    assert rows.particle.tolist() == [2, 3]  # the stand-in drops the last of 2, 3, 4
    # rot 30, tilt 0, psi 0 is a turn by -30 degrees from the reference to the tomogram.
    turned = Rotation.from_euler("z", -30.0, degrees=True).as_matrix()
    assert_allclose(rows.rotations, [turned] * 2, atol=1e-6)
    # The particle lies at the coordinate less its origin, which is -2 A along x.
    moved = rows.positions_xyz_angstrom - before.positions_xyz_angstrom[:2]
    assert_allclose(moved, [[2.0, 0.0, 0.0]] * 2, atol=1e-5)
    assert rows.half.tolist() == [1, 2]
    assert rows.others["note"].tolist() == [1, 4]
    assert context.figures["stated_resolution_angstrom"] == 12.5
    assert made.main.resolution_angstrom is None  # unmasked halves alone prove nothing
    # RELION refines halves by themselves; what else was in doubt it does not test.
    assert found.common_reference == ""
    assert made.main.pose_doubt == found.pose_doubt == "shells do not tell"
    assert made.main.half1.shape == (8, 8, 8)
    assert made.main.curves[0].correlation == (1.0, 0.75, 0.5, 0.25)


def test_it_needs_images_and_a_first_map(particles, extracted, context, relion):
    with pytest.raises(DataUnfitError, match="have no extracted images; run extract_particles"):
        relion_refine((particles,), RelionRefineParams(), context)
    with pytest.raises(UserInputError, match="set reference of relion_refine"):
        relion_refine((extracted,), RelionRefineParams(), context)


def test_processes_and_gpus(extracted):
    (call,) = calls((extracted,), RelionRefineParams(processes=5), Workplace(n_threads=8, gpu=2))
    assert call.launcher == ("mpirun", "-n", "5")
    assert call.words_of("--gpu") == ("--gpu", "2:2:2:2")
    assert call.words_of("--j") == ("--j", "2")
    assert call.words_of("-n") == ("-n", "5")
    (alone,) = calls((extracted,), RelionRefineParams(), Workplace())
    assert alone.words_of("--gpu") == ()
    assert np.isclose(float(alone.words_of("--particle_diameter")[1]), 60.0)
