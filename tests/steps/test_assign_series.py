"""Particles get other images of the same tilts, and no images of another alignment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import ArrayTable, ParticleRows, Particles
from cryoloom.steps.assign_series import AssignSeriesParams, assign_series
from makers.context import MemoryContext
from makers.made_series import aligned, make_series


def assigned(series, other):
    rows = ParticleRows.of("TS_01", np.zeros((2, 3)))
    particles = Particles("TS_01", ArrayTable(rows.columns()), (series,))
    context = MemoryContext()
    return assign_series(particles, AssignSeriesParams(), context, series_from=other), context


def test_the_series_takes_the_place_of_the_other():
    series = aligned(make_series("TS_01"))
    finer = replace(series, pixel_size_angstrom=0.5 * series.pixel_size_angstrom)
    made, context = assigned(series, finer)
    assert made.series == (finer,)
    assert made.n_particles == 2
    assert context.figures["beam_change_deg"] == pytest.approx(0.0, abs=1e-4)


def test_another_alignment_is_refused():
    series = aligned(make_series("TS_01"))
    turned = {t.acquisition_index: {"pose": replace(t.pose, x_tilt_deg=7.0)} for t in series.tilts if t.pose}
    with pytest.raises(DataUnfitError, match=r"another pose in series_from: it differs by 7\.0 deg"):
        assigned(series, series.with_tilts(turned))
    with pytest.raises(DataUnfitError, match="have no pose"):
        assigned(series, make_series("TS_01"))
    with pytest.raises(DataUnfitError, match="connect series of the same names"):
        assigned(series, aligned(make_series("TS_02")))
