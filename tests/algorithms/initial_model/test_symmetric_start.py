"""First maps of symmetric particles from their own axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.map_symmetry import symmetry_in_place
from cryoloom.algorithms.initial_model.annealing import AnnealingSettings
from cryoloom.algorithms.initial_model.own_axes import own_band_angstrom
from cryoloom.algorithms.initial_model.symmetric_start import symmetric_start
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from makers.posed_images import (
    PIXEL_ANGSTROM,
    SMALL_DIAMETER_ANGSTROM,
    MemoryWorker,
    cube_of,
    made_images,
    symmetric_map,
)

N = 10
SETTINGS = AnnealingSettings(SMALL_DIAMETER_ANGSTROM, 40.0, own_band_angstrom(SMALL_DIAMETER_ANGSTROM, 20.0))


def started(has, asked, seed=5):
    rng = np.random.default_rng(seed)
    true, shifts = Rotation.random(N, rng).as_matrix(), rng.normal(0, 3.0, (N, 3))
    images = made_images(cube_of(symmetric_map(has, rng)), true, shifts, 100.0, rng, tilt_step_deg=4.0)
    worker = MemoryWorker(images, 1 + np.arange(N) % 2, np.tile(np.eye(3), (N, 1, 1)), np.zeros((N, 3)))
    return symmetric_start(worker, asked, SETTINGS, rng), worker, true, shifts


def test_a_map_with_its_symmetry_comes_from_nothing():
    found, worker, true, shifts = started("O", "O")
    assert found.is_borne_out
    assert found.significance > 5
    assert rotations_between(worker.rotations, true, symmetry_matrices("O")).max() < 15.0
    assert np.abs(worker.shifts - shifts).max() < 8.0
    placed = symmetry_in_place(found.made.map, 0.55 * SMALL_DIAMETER_ANGSTROM / PIXEL_ANGSTROM, "O")
    assert placed is not None
    assert placed.likeness > 0.9
    assert len(found.made.held_out_log_likelihood) == 1
    assert [record.start for record in found.made.history] == [0, 0, 0, -1]


@pytest.mark.slow
def test_a_symmetry_that_particles_do_not_have_is_not_borne_out():
    assert not started("C1", "O")[0].is_borne_out
