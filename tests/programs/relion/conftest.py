"""Particles of one aligned series, with and without extracted images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Tomogram
from cryoloom.programs.relion.relion_extract_particles import (
    RelionExtractParticlesParams,
    relion_extract_particles,
)
from makers.context import MemoryContext
from makers.made_series import aligned, make_series
from makers.relion_stand_ins import SUBTOMO


@pytest.fixture
def particles(rng):
    series = aligned(make_series("TS_01", n_tilts=5))
    tomogram = Tomogram(series, rng.normal(size=(8, 10, 16)).astype(np.float32), 10.0)
    rows = ParticleRows.of(
        "TS_01",
        rng.uniform(-30, 30, (4, 3)),
        rotations=Rotation.random(4, rng).as_matrix(),
        score=np.arange(4.0),
        others={"note": np.array([3, 1, 4, 1])},
    )
    return Particles("TS_01", ArrayTable(rows.columns()), (series,), (tomogram,), diameter_angstrom=60.0)


@pytest.fixture
def average(rng):
    cube = rng.normal(size=(8, 8, 8)).astype(np.float32)
    return Average("all", cube, 5.0, half1=cube + 1, half2=cube - 1)


@pytest.fixture
def extracted(particles, stand_in):
    stand_in("relion_tomo_subtomo", SUBTOMO)
    return relion_extract_particles(
        particles, RelionExtractParticlesParams(box_px=32, crop_px=16), MemoryContext()
    )
