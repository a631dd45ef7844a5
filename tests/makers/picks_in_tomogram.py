"""A tomogram of nothing, and picks in it."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.model import ArrayTable, ParticleRows, Particles, Tomogram
from makers.made_series import aligned, make_series


@pytest.fixture
def tomogram():
    series = aligned(make_series(n_tilts=5, shape_yx=(200, 200), pixel_size_angstrom=10.0))
    return Tomogram(series, np.zeros((60, 200, 200), np.float32), 10.0)


def particles_at(tomogram, places, **more):
    rows = ParticleRows.of(tomogram.name, np.asarray(places, dtype=float), **more)
    table = ArrayTable(rows.columns())
    return Particles(tomogram.name, table, (tomogram.series,), (tomogram,), diameter_angstrom=100.0)
