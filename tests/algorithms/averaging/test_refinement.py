"""Refinement of particles in memory from a blurred reference, and averages at given poses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.evaluation import particle_mask
from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.averaging.refinement import (
    RefinementSettings,
    reconstruct_average,
    refine_average,
)
from cryoloom.algorithms.averaging.shell_correlation import shell_correlation
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.orientation_grid import rotations_between
from makers.posed_images import BOX_PX, PIXEL_ANGSTROM, MemoryWorker, cube_of, made_images, random_map

N = 24
SETTINGS = RefinementSettings(
    "C1", 130.0, initial_lowpass_angstrom=40.0, angular_step_deg=20.0, max_iterations=3
)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(8)
    density = random_map(rng)
    true = Rotation.random(N, rng).as_matrix()
    shifts = rng.normal(0, 2.0, (N, 3))
    images = made_images(cube_of(density), true, shifts, 45.0, rng)
    return density, images, true, shifts


def worker_at(images, rotations, shifts):
    return MemoryWorker(images, 1 + np.arange(N) % 2, np.array(rotations), np.array(shifts))


def likeness(first, second):
    """Correlation of maps by shells 2 to 8 (24 A) within the particle."""
    mask = particle_mask(BOX_PX, PIXEL_ANGSTROM, 130.0)
    return shell_correlation(first * mask, second * mask)[2:9].mean()


def test_a_blurred_reference_becomes_the_particle(scene):
    density, images, true, shifts = scene
    worker = worker_at(images, np.broadcast_to(np.eye(3), true.shape), np.zeros((N, 3)))
    reported = []
    found = refine_average(
        worker, 7.0 * low_pass(density, PIXEL_ANGSTROM, 40.0), PIXEL_ANGSTROM, SETTINGS,
        np.random.default_rng(1), reported.append,
    )  # fmt: skip
    error = rotations_between(worker.rotations, true)
    # The reference's own frame may turn by a few degrees: pixels are 8 A.
    assert np.median(error) < 5.0
    assert (error < 8.0).mean() > 0.9
    assert np.median(np.linalg.norm(worker.shifts - shifts, axis=1)) < 2.0
    assert likeness(found.map, density) > 0.9
    assert found.verdict.resolution_angstrom is not None
    assert found.verdict.resolution_angstrom < 22.0
    assert [record.kind for record in found.history] == [order.kind for order in worker.orders[:-1]]
    assert found.history[0].kind == "search"
    assert found.history[-1].kind == "local_refine"
    assert tuple(reported) == found.history
    for record in found.history:
        assert record.sections.shape == (3, BOX_PX, BOX_PX)
        assert record.correlation[0] == pytest.approx(1.0, abs=0.1)
        assert record.box_angstrom == pytest.approx(BOX_PX * PIXEL_ANGSTROM)
    assert worker.dropped_below
    assert worker.orders[-1].kind == "insert"


def test_known_poses_need_no_search(scene):
    density, images, true, shifts = scene
    worker = worker_at(images, true, shifts)
    found = refine_average(
        worker, low_pass(density, PIXEL_ANGSTROM, 40.0), PIXEL_ANGSTROM, SETTINGS, np.random.default_rng(1),
        poses_known=True,
    )  # fmt: skip
    assert {record.kind for record in found.history} == {"local_refine"}
    assert rotations_between(worker.rotations, true).max() < 6.0


def test_an_average_at_known_poses_and_one_at_wrong_ones(scene):
    density, images, true, shifts = scene
    rng = np.random.default_rng(2)
    right = reconstruct_average(worker_at(images, true, shifts), SETTINGS, rng)
    assert likeness(right.map, density) > 0.9
    assert right.history == ()
    assert right.references is None
    assert right.verdict.resolution_angstrom is not None
    wrong = reconstruct_average(worker_at(images, Rotation.random(N, rng).as_matrix(), shifts), SETTINGS, rng)
    assert wrong.verdict.resolution_angstrom is None
    assert wrong.verdict.note


def test_a_reference_of_the_wrong_sign_or_none_is_refused(scene):
    density, images, true, shifts = scene
    worker = worker_at(images, true, shifts)
    rng = np.random.default_rng(1)
    with pytest.raises(DataUnfitError, match="its density must be positive"):
        refine_average(worker, -density, PIXEL_ANGSTROM, SETTINGS, rng)
    with pytest.raises(DataUnfitError, match="the reference is empty at 40 A"):
        refine_average(worker, torch.zeros_like(density), PIXEL_ANGSTROM, SETTINGS, rng)
