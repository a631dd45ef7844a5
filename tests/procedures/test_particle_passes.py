"""Particles of many series, worked on in parts: what is refused before images are written, and twins."""

from __future__ import annotations

import shutil
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest

from cryoloom.algorithms.averaging.particle_images import ParticleImages
from cryoloom.errors import TransientError
from cryoloom.model import ParticleRows
from cryoloom.procedures.particle_passes import SeriesWorker
from makers.context import MemoryContext
from makers.small_particles import DIAMETER_ANGSTROM, TILTS_DEG, lumpy_particle, small_scene

Usage = namedtuple("Usage", "total used free")
N = 6


@pytest.fixture
def worker(tmp_path):
    rng = np.random.default_rng(3)
    made = small_scene(lumpy_particle(rng), N, rng)
    half = 1 + np.arange(N) % 2
    rows = ParticleRows.of(made.series.name, made.positions_xyz_angstrom, half=half)
    return SeriesWorker(MemoryContext(scratch_folder=tmp_path), (made.series,), rows, DIAMETER_ANGSTROM)


def test_images_take_the_bytes_that_were_reckoned(worker, tmp_path):
    layout = worker.layout(30.0)
    worker.extract(layout)
    files = {file.stem: file.stat().st_size for file in tmp_path.glob("images_*/*.npy")}
    declared = ParticleImages.bytes_of(N, len(TILTS_DEG), layout)
    assert files["data"] + files["weights"] == pytest.approx(declared, rel=0.01)


def test_a_disk_without_room_is_reported_before_anything_is_written(worker, tmp_path, monkeypatch):
    layout = worker.layout(30.0)
    needed = ParticleImages.bytes_of(N, len(TILTS_DEG), layout)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, needed - 1))
    with pytest.raises(TransientError, match=rf"images of {N} particles to .* A need .* GB in .*room for"):
        worker.extract(layout)
    assert not list(tmp_path.glob("images_*"))


def test_images_that_are_replaced_make_room(worker, monkeypatch):
    layout = worker.layout(30.0)
    worker.extract(layout)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0, 0, 1000))
    worker.extract(layout)


def test_of_particles_that_came_to_one_place_the_likeliest_is_kept():
    places = np.array([[0.0, 0, 0], [40, 0, 0], [80, 0, 0], [300, 0, 0]])
    rows = ParticleRows.of("TS_1", places, half=np.array([1, 2, 1, 2]))
    worker = SeriesWorker(MemoryContext(), (SimpleNamespace(name="TS_1"),), rows, 100.0)
    worker.log_likelihood = np.array([10.0, 30.0, 20.0, 5.0])
    worker.drop_twins(20.0)
    assert worker.half.tolist() == [1, 2, 1, 2]
    # The first goes to the second's place, from one half to the other.
    worker.restore((np.tile(np.eye(3), (4, 1, 1)), np.array([[35.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]])))
    worker.drop_twins(20.0)
    assert worker.half.tolist() == [0, 2, 1, 2]
    assert worker.is_twin.tolist() == [True, False, False, False]
    # One that is left out already takes no other with it.
    worker.log_likelihood[0] = 100.0
    worker.drop_twins(20.0)
    assert worker.half.tolist() == [0, 2, 1, 2]
