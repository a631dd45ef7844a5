"""A network trained on picks finds particles in another tomogram, and leaves what is only as dense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.placement import place_map
from cryoloom.algorithms.picking.heat_maps import hits
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import ArrayTable, ParticleRows, Particles, Tomogram
from cryoloom.steps.train_picker import TrainPickerParams, train_picker
from makers.context import MemoryContext
from makers.made_series import make_series

VOXEL, SHAPE, DIAMETER = 12.0, (28, 72, 72), 108.0


def shell_and_ball():
    """A hollow particle, and a solid one of the same size and mass."""
    axis = np.arange(16) - 8
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) * 6.0
    shell = np.exp(-0.5 * ((radius - 42.0) / 7.0) ** 2)
    ball = 1.0 / (1.0 + np.exp((radius - 34.0) / 5.0))
    return (torch.tensor(one / one.sum() * 400.0, dtype=torch.float32) for one in (shell, ball))


def tomogram(name, seed, n=14):
    """Dark shells and as many dark balls in noise; gives the shells' positions."""
    rng = np.random.default_rng(seed)
    half = 0.5 * np.array(SHAPE)[::-1] * VOXEL - 50.0
    places = np.zeros((0, 3))
    while len(places) < 2 * n:
        trial = rng.uniform(-half, half)
        if not len(places) or np.linalg.norm(places - trial, axis=1).min() > 1.05 * DIAMETER:
            places = np.concatenate([places, trial[None]])
    volume = np.zeros(SHAPE, np.float32)
    for density, mine in zip(shell_and_ball(), (places[:n], places[n:]), strict=True):
        turns = Rotation.random(n, rng).as_matrix()
        place_map(density, 6.0, mine, turns, volume, VOXEL, 48.0)
    # A third of the particles' contrast as noise in every voxel.
    volume = -volume / volume.max() + rng.normal(0, 0.33, SHAPE).astype(np.float32)
    return Tomogram(make_series(name), volume, VOXEL), places[:n]


def picks_in(one, places) -> Particles:
    rows = ParticleRows.of(one.name, places)
    return Particles(one.name, ArrayTable(rows.columns()), (one.series,), (one,), diameter_angstrom=DIAMETER)


def run(given, params):
    """Train on the picks of all tomograms but the last; pick in all."""
    context = MemoryContext()
    items = tuple(picks_in(*one) for one in given[:-1])
    made = train_picker(items, params, context, tomograms_from=tuple(one for one, _ in given))
    return made, context


@pytest.mark.slow
@pytest.mark.parametrize("seed", [10, 20])
def test_particles_of_a_tomogram_without_picks_are_found(seed):
    given = [tomogram(f"TS_{i}", seed + i) for i in (1, 2, 3)]
    made, context = run(given, TrainPickerParams(epochs=6, steps_per_epoch=20, batch=4, box_px=24))
    truth = given[2][1]
    found = made[2].rows().positions_xyz_angstrom
    n_hits = hits(found, truth, 0.3 * DIAMETER)
    assert n_hits / len(truth) > 0.8
    assert n_hits / len(found) > 0.8
    assert context.figures["recall_percent"] > 70
    assert 0.1 <= context.figures["threshold"] <= 0.9


def test_a_trained_network_is_used_again():
    """The fast twin: too short a training to pick well, but everything is there."""
    given = [tomogram(f"TS_{i}", 10 + i, n=10) for i in (1, 2)]
    short = TrainPickerParams(epochs=3, steps_per_epoch=4, batch=2, box_px=16, filters=2)
    made, context = run(given, short)
    assert [one.name for one in made] == ["TS_1", "TS_2"]
    assert context.figures["n_particles"] == sum(one.n_particles for one in made)
    assert context.figures["n_trained"] < 10
    assert len(context.records["training"]) == 3
    losses = [row["loss"] for row in context.records["training"]]
    assert min(losses[1:]) < losses[0]
    params = TrainPickerParams(epochs=0, weights=context.files["network.safetensors"])
    again, _ = run(given, params)
    for one, other in zip(made, again, strict=True):
        assert np.allclose(one.rows().positions_xyz_angstrom, other.rows().positions_xyz_angstrom)


def test_what_cannot_be_trained_is_reported(context):
    one, places = tomogram("TS_1", 3, n=4)
    few = (picks_in(one, places),)
    with pytest.raises(DataUnfitError, match="4 picks are too few"):
        train_picker(few, TrainPickerParams(), context, tomograms_from=(one,))
    nameless = (replace(few[0], diameter_angstrom=None),)
    with pytest.raises(UserInputError, match="diameter is not known"):
        train_picker(nameless, TrainPickerParams(), context, tomograms_from=(one,))
    other = replace(one, series=make_series("TS_9"))
    with pytest.raises(DataUnfitError, match="picks in TS_1"):
        train_picker(few, TrainPickerParams(), context, tomograms_from=(other,))
    broken = replace(one, volume=np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(DataUnfitError, match="not finite"):
        train_picker((picks_in(one, np.tile(places, (3, 1))),), TrainPickerParams(), context,
                     tomograms_from=(broken,))  # fmt: skip
