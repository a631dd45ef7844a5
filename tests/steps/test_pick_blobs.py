"""Everything of a size is found at its place; ice gives nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.candidates import Candidates
from cryoloom.errors import UserInputError
from cryoloom.model import Sourced, Tomogram
from cryoloom.simulate.session import SimulationParams, simulate_tilt_series
from cryoloom.steps.pick_blobs import PickBlobsParams, _q_values, _why_nothing, pick_blobs
from makers.context import MemoryContext

SCENE = SimulationParams(
    seed=12,
    image_shape_yx=(192, 224),
    pixel_size_angstrom=6.0,
    thickness_angstrom=500.0,
    n_particles=50,
    n_vesicles=0,
    n_membranes=0,
    n_beads=3,
    tilt_step_deg=6.0,
    dose_per_tilt_per_angstrom2=5.0,
    shift_rms_angstrom=20.0,
    shift_trend_angstrom=30.0,
)


def tomogram_of(params):
    series, truth = simulate_tilt_series(params)
    series = truth.with_true_ctfs(truth.with_true_poses(series))
    series = replace(series, handedness=Sourced(applied=float(truth.handedness)))
    return Tomogram(series, np.zeros((80, 116, 134), np.float32), 10.0), truth


def test_particles_are_picked_where_they_are():
    tomogram, truth = tomogram_of(SCENE)
    context = MemoryContext()
    # One bright place more or less, as the last bits of a processor decide, must not empty 30 picks.
    params = PickBlobsParams(diameter_angstrom=150.0, false_discovery_rate=0.1)
    rows = pick_blobs(tomogram, params, context).rows()
    every = np.concatenate([kind.positions_xyz_angstrom for kind in truth.particles])
    distance = cKDTree(every).query(rows.positions_xyz_angstrom)[0]
    # The head of the larger kind lies 120 A from its middle, and is about as large as what is looked for.
    assert (distance < 75).mean() > 0.75
    assert (distance < 150).mean() > 0.95
    inner = (np.abs(every) < [540, 460, 300]).all(axis=1)
    found = cKDTree(rows.positions_xyz_angstrom).query(every[inner])[0]
    assert (found < 75).mean() > 0.8
    at_gold = cKDTree(truth.beads_xyz_angstrom).query(rows.positions_xyz_angstrom)[0]
    assert (at_gold < 60).sum() <= 1
    assert (np.diff(rows.score) <= 0).all()
    assert context.figures["n_particles"] == rows.n


def test_one_bright_place_does_not_cost_all_picks():
    height = np.linspace(12.0, 7.0, 28)
    assert (_q_values(height, np.array([13.0])) < 0.05).all()


def test_a_single_clear_object_is_enough():
    noise = np.array([4.9, 4.4, 4.2])
    q_value = _q_values(np.array([12.0, 5.0, 4.5, 4.1]), noise)
    assert q_value[0] < 1e-4
    assert (q_value[1:] > 0.2).all()


def test_weak_maxima_without_any_of_the_other_sign_are_not_picked():
    assert (_q_values(np.array([4.8, 4.3, 4.1]), np.zeros(0)) > 0.05).all()


def test_what_stands_out_and_is_not_picked_is_said():
    """One bright place as strong as the objects makes more than 5 % of 15 uncertain."""
    height = np.linspace(12.0, 8.0, 15)
    found = Candidates(np.zeros((15, 3)), height, 1.0)
    q_value = _q_values(height, np.array([13.0]))
    assert q_value.min() > 0.05
    assert "15 objects of this diameter stand out" in _why_nothing(found, q_value)
    assert "6.7 % of the clearest" in _why_nothing(found, q_value)
    weak = replace(found, significance=np.full(15, 4.5))
    assert "exceeds the noise" in _why_nothing(weak, q_value)


def test_ice_alone_gives_nothing():
    tomogram, _ = tomogram_of(SCENE.model_copy(update={"n_particles": 0, "n_beads": 0, "seed": 8}))
    context = MemoryContext()
    picks = pick_blobs(tomogram, PickBlobsParams(diameter_angstrom=150.0), context)
    assert picks.n_particles == 0
    assert "exceeds the noise" in context.warnings[-1]
    with pytest.raises(UserInputError, match="voxels of 10 A wide"):
        pick_blobs(tomogram, PickBlobsParams(diameter_angstrom=40.0), context)
