"""What an export hands over of particles: refined ones in the place of the picks they were made from."""

from __future__ import annotations

from dataclasses import replace

from cryoloom.engine.exporting import exportable
from cryoloom.model import ArrayTable, ParticleRows, Particles
from makers.made_series import make_series


def particle_set(name, n):
    rows = ParticleRows.of(name, [[float(i), 0.0, 0.0] for i in range(n)])
    return Particles(name, ArrayTable(rows.columns()), series=(replace(make_series(name), name=name),))


def test_refined_particles_take_the_place_of_the_picks_of_their_series():
    picks = [particle_set("TS_01", 5), particle_set("TS_02", 4)]
    refined = [particle_set("TS_01", 3)]
    pairs, particles, averages = exportable(picks, refined)
    assert [(one.name, one.n_particles) for one in particles] == [("TS_01", 3), ("TS_02", 4)]
    assert [series.name for series, _ in pairs] == ["TS_01", "TS_02"]
    assert averages == []


def test_further_outputs_of_other_kinds_change_nothing():
    picks = [particle_set("TS_01", 5)]
    _, particles, _ = exportable(picks, [make_series("TS_01")])
    assert [one.n_particles for one in particles] == [5]
    assert exportable([], [])[1] == []
