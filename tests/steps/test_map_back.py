"""The average in the volume is the density of the turned particles, at their places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import index_from_position
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Tomogram
from cryoloom.steps.map_back import MapBackParams, map_back
from makers.context import MemoryContext
from makers.made_series import make_series
from makers.particle_scene import true_map
from makers.small_particles import DIAMETER_ANGSTROM, lumpy_particle

VOXEL, SHAPE = 10.0, (30, 60, 56)


@pytest.fixture(scope="module")
def made():
    """Three particles in a tomogram, one of them over its edge."""
    rng = np.random.default_rng(3)
    model = lumpy_particle(rng)
    positions = np.array([[-100.0, 120.0, 20.0], [93.0, -71.0, -33.0], [150.0, 160.0, 30.0]])
    rotations = Rotation.random(3, rng).as_matrix()
    series = make_series("TS_1")
    rows = ParticleRows.of("TS_1", positions, rotations=rotations, class_number=np.array([1, 2, 1]))
    tomogram = Tomogram(series, np.zeros(SHAPE, np.float32), VOXEL)
    particles = Particles(
        "TS_1", ArrayTable(rows.columns()), (series,), (tomogram,), diameter_angstrom=DIAMETER_ANGSTROM
    )
    average = Average("all", true_map(model, 40, 6.0), 6.0, diameter_angstrom=DIAMETER_ANGSTROM)
    return model, particles, average


def true_volume(model, rows):
    """Density of the points of all particles on the volume's voxels."""
    volume = np.zeros(SHAPE)
    for place, rotation in zip(rows.positions_xyz_angstrom, rows.rotations, strict=True):
        whole = np.rint(index_from_position(place, SHAPE, VOXEL)).astype(int)
        off = index_from_position(place, SHAPE, VOXEL) - whole
        points = model.points_xyz_angstrom @ rotation.T + off[::-1] * VOXEL
        box = true_map(replace(model, points_xyz_angstrom=points.astype(np.float32)), 24, VOXEL)
        low = whole - 12
        here = [slice(max(a, 0), min(a + 24, n)) for a, n in zip(low, SHAPE, strict=True)]
        there = [slice(s.start - a, s.stop - a) for s, a in zip(here, low, strict=True)]
        volume[tuple(here)] += box[tuple(there)]
    return volume


def test_copies_lie_as_the_particles_do(made):
    model, particles, average = made
    context = MemoryContext()
    tomogram = map_back(particles, MapBackParams(), context, average_from=average)
    volume = np.asarray(tomogram.volume)
    assert volume.shape == SHAPE
    assert tomogram.voxel_size_angstrom == VOXEL
    rows = particles.rows()
    truth = true_volume(model, rows)
    # The volume holds a sphere of frequencies, the truth the whole cube.
    assert np.corrcoef(volume.ravel(), truth.ravel())[0, 1] > 0.97
    # Turned the other way they are elsewhere.
    turned = replace(rows, rotations=np.swapaxes(rows.rotations, 1, 2))
    assert np.corrcoef(volume.ravel(), true_volume(model, turned).ravel())[0, 1] < 0.8
    assert context.figures["n_placed"] == 3
    assert set(context.files) == {
        "positions.bild", "positions.csv", "open_in_chimerax.cxc", "open_in_napari.py"
    }  # fmt: skip
    table = np.genfromtxt(context.files["positions.csv"], delimiter=",", names=True)
    # From the first voxel, as viewers count.
    assert np.isclose(table["x_angstrom"][0], -100.0 + 28 * VOXEL)
    assert np.isclose(table["z_angstrom"][0], 20.0 + 15 * VOXEL)


def test_classes_and_masks_are_chosen(made):
    _, particles, average = made
    axis = np.arange(40) - 20
    ball = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 6**2).astype(np.float32)
    masked = replace(average, mask=ball)
    context = MemoryContext()
    one = map_back(particles, MapBackParams(classes=(2,)), context, average_from=masked)
    assert context.figures["n_placed"] == 1
    filled = np.argwhere(np.asarray(one.volume) != 0)
    centre = index_from_position(particles.rows().positions_xyz_angstrom[1], SHAPE, VOXEL)
    assert np.linalg.norm(filled - centre, axis=1).max() * VOXEL < 6 * 6.0 + 2 * VOXEL
    finer = map_back(particles, MapBackParams(voxel_size_angstrom=5.0), MemoryContext(), average_from=average)
    assert np.asarray(finer.volume).shape == tuple(2 * n for n in SHAPE)


def test_what_cannot_be_placed_is_reported(made, context):
    _, particles, average = made
    rows = particles.rows()
    two = replace(
        particles,
        table=ArrayTable(replace(rows, tomogram=np.array(["TS_1", "TS_2", "TS_1"])).columns()),
    )
    with pytest.raises(DataUnfitError, match="particles of 2 tomograms"):
        map_back(two, MapBackParams(), context, average_from=average)
    without = replace(particles, table=ArrayTable(replace(rows, class_number=None).columns()))
    with pytest.raises(DataUnfitError, match="have no classes"):
        map_back(without, MapBackParams(classes=(1,)), context, average_from=average)
    far = replace(rows, positions_xyz_angstrom=rows.positions_xyz_angstrom + np.array([0.0, 0.0, 900.0]))
    map_back(
        replace(particles, table=ArrayTable(far.columns())), MapBackParams(), context, average_from=average
    )
    assert "3 of 3 particles lie outside" in context.warnings[-1]
    broken = replace(average, map=np.full((40, 40, 40), np.nan, np.float32))
    with pytest.raises(DataUnfitError, match="not finite"):
        map_back(particles, MapBackParams(), context, average_from=broken)
