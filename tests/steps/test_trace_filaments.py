"""Filaments are traced where they are, their particles stand at the rise and turn by the twist."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoloom.geometry.rotations import rotation_z
from cryoloom.model import Tomogram
from cryoloom.simulate.particles import ParticleModel
from cryoloom.steps.trace_filaments import TraceFilamentsParams, trace_filaments
from makers.context import MemoryContext
from makers.filament_scene import RISE_ANGSTROM, TWIST_DEG, filament_scene
from makers.particle_scene import make_scene

PARAMS = TraceFilamentsParams(
    diameter_angstrom=80.0, spacing_angstrom=RISE_ANGSTROM, twist_deg=TWIST_DEG, fill_beads=False
)


@pytest.fixture(scope="module")
def found():
    scene = filament_scene(5)
    context = MemoryContext()
    return scene, trace_filaments(scene.tomogram, PARAMS, context), context


def test_particles_lie_on_the_axes_and_cover_them(found):
    scene, made, context = found
    places = made.rows().positions_xyz_angstrom
    axes = np.concatenate(scene.axes)
    away = cKDTree(axes).query(places)[0]
    assert (away < 30).mean() > 0.95
    # A tenth of a voxel of the search.
    assert np.median(away) < 5
    assert (cKDTree(places).query(axes)[0] < 30).mean() > 0.95
    assert context.figures["n_filaments"] == len(scene.axes)
    assert context.figures["n_particles"] == len(places)


def test_each_filament_has_its_number_and_direction(found):
    scene, made, context = found
    rows = made.rows()
    assert set(rows.tube.tolist()) == {1, 2, 3}
    assert len(context.records["filaments"]) == 3
    for number in (1, 2, 3):
        mine = rows.take(np.flatnonzero(rows.tube == number))
        axis = min(scene.axes, key=lambda one: cKDTree(one).query(mine.positions_xyz_angstrom)[0].sum())
        along = axis[-1] - axis[0]
        along /= np.linalg.norm(along)
        # One direction for all of a filament, though it may be the wrong one.
        cosine = mine.prior_directions @ along
        assert np.abs(np.median(cosine)) > 0.98
        assert (np.sign(cosine) == np.sign(cosine[0])).all()
        assert (cKDTree(axis).query(mine.positions_xyz_angstrom)[0] < 40).mean() > 0.95


def test_particles_stand_at_the_rise_and_turn_by_the_twist(found):
    rows = found[1].rows()
    mine = rows.take(np.flatnonzero(rows.tube == 1))
    step = np.linalg.norm(np.diff(mine.positions_xyz_angstrom, axis=0), axis=1)
    assert np.allclose(step, RISE_ANGSTROM, rtol=0.02)
    assert np.allclose(np.diff(mine.others["along_angstrom"]), RISE_ANGSTROM)
    assert np.allclose(mine.rotations[:, :, 2], mine.prior_directions)
    relative = np.swapaxes(mine.rotations[:-1], 1, 2) @ mine.rotations[1:]
    # The axis bends by less than two degrees from one to the next.
    trace = np.einsum("nij,ij->n", relative, rotation_z(TWIST_DEG))
    assert np.rad2deg(np.arccos(np.clip(0.5 * (trace - 1), -1, 1))).max() < 3


def test_noise_has_no_filaments():
    rng = np.random.default_rng(8)
    dot = ParticleModel("dot", np.zeros((1, 3), np.float32), np.full(1, 1e-3, np.float32))
    scene = make_scene(
        dot, 1, rng, shape_yx=(96, 96), pixel=10.0, tilts_deg=np.arange(-60.0, 61.0, 6.0), box_px=32
    )
    tomogram = Tomogram(scene.series, np.zeros((60, 96, 96), np.float32), 10.0)
    context = MemoryContext()
    made = trace_filaments(tomogram, PARAMS, context)
    assert made.n_particles == 0
    assert context.figures["n_filaments"] == 0
    assert "no filament was found" in context.warnings[0]
    assert "median_score" in context.reasons_not_measurable
