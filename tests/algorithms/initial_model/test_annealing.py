"""First maps from random orientations of particles in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.maps import low_pass
from cryoloom.algorithms.initial_model.annealing import AnnealingSettings, anneal, go_on, search_once
from cryoloom.geometry.orientation_grid import rotations_between
from makers.posed_images import PIXEL_ANGSTROM, MemoryWorker, cube_of, made_images, random_map

N = 16
SETTINGS = AnnealingSettings(
    130.0, 60.0, 32.0, n_starts=2, shift_range_angstrom=8.0, step_deg=36.0, most_particles=12
)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(5)
    density = random_map(rng)
    true = Rotation.random(N, rng).as_matrix()
    return density, made_images(cube_of(density), true, np.zeros((N, 3)), 60.0, rng), true


def worker_of(images):
    return MemoryWorker(images, 1 + np.arange(N) % 2, np.tile(np.eye(3), (N, 1, 1)), np.zeros((N, 3)))


def error_up_to_one_rotation(found, true):
    relative = np.swapaxes(found, 1, 2) @ true
    return min(float(np.median(rotations_between(found @ one, true))) for one in relative)


def test_a_map_comes_from_random_orientations(scene):
    _, images, true = scene
    worker = worker_of(images)
    reported = []
    found = anneal(worker, SETTINGS, np.random.default_rng(4), reported.append)
    # The grid's step is 36 degrees.
    assert error_up_to_one_rotation(worker.rotations, true) < 24.0
    assert len(found.held_out_log_likelihood) == 2
    starts = [record.start for record in found.history]
    assert starts == [0] * 10 + [1] * 10 + [-1] * 2
    assert tuple(reported) == found.history
    first, last = found.history[0], found.history[9]
    assert first.exponent == 0.05
    assert last.exponent == 1.0
    assert (first.band_angstrom, last.band_angstrom) == (60.0, pytest.approx(32.0))
    assert first.n_effective > 5 * last.n_effective
    assert last.log_likelihood > first.log_likelihood
    # The starts work with twelve particles, the end with all.
    assert np.count_nonzero(worker.half) == N


def test_a_search_with_the_right_map_finds_the_poses(scene):
    density, images, true = scene
    worker = worker_of(images)
    layout = worker.layout(32.0)
    records = []
    reference, halves = search_once(
        worker, low_pass(density, PIXEL_ANGSTROM, 32.0), layout, SETTINGS, np.random.default_rng(2), 32.0,
        1.0, 0, records.append,
    )  # fmt: skip
    assert np.median(rotations_between(worker.rotations, true)) < 20.0
    assert len(records) == 1
    assert records[0].n_effective < 2.0
    expected = low_pass(density, PIXEL_ANGSTROM, 32.0)
    agreement = np.corrcoef(reference.numpy().ravel(), expected.numpy().ravel())
    assert agreement[0, 1] > 0.7
    assert halves[0].shape == halves[1].shape == reference.shape


def test_a_map_goes_on_to_finer_detail_from_its_poses(scene):
    _, images, true = scene
    coarse = AnnealingSettings(130.0, 60.0, 60.0, n_starts=1, shift_range_angstrom=8.0, step_deg=36.0)
    worker = worker_of(images)
    first = anneal(worker, coarse, np.random.default_rng(4))
    finer = replace(coarse, last_band_angstrom=30.0, step_deg=24.0, most_particles=12)
    begun = len(worker.orders)
    found = go_on(worker, first, finer, np.random.default_rng(4))
    assert found.history[: len(first.history)] == first.history
    assert [record.band_angstrom for record in found.history[len(first.history) :]] == [30.0] * 3
    assert error_up_to_one_rotation(worker.rotations, true) < 16.0
    # More of the power of the map lies beyond 40 A.
    fine = [float((d - low_pass(d, PIXEL_ANGSTROM, 40.0)).std() / d.std()) for d in (first.map, found.map)]
    assert fine[1] > 2 * fine[0]
    kinds = [order.kind for order in worker.orders[begun:]]
    assert kinds == ["insert", "search", "search", "search", "insert"]
    # All particles are used at the end.
    assert np.count_nonzero(worker.half) == N


def test_no_start_is_refused(scene):
    settings = AnnealingSettings(130.0, 60.0, 32.0, n_starts=0)
    with pytest.raises(ValueError, match="expected at least one start"):
        anneal(worker_of(scene[1]), settings, np.random.default_rng(4))
