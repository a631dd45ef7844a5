"""Particles and averages exported beside their series are found again where they were."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import starfile
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.formats.relion.particle_export import write_relion5_particles
from cryoloom.formats.relion.particles import read_relion_particles
from cryoloom.formats.relion.relion5 import write_relion5
from cryoloom.model import ArrayTable, Average, ParticleRows, Particles, Tomogram, no_resolution
from makers.made_series import aligned, make_series


def test_particles_stand_beside_their_series(tmp_path, rng):
    series = aligned(make_series("TS_01"))
    volume = rng.normal(size=(8, 10, 16)).astype(np.float32)
    tomogram = Tomogram(series, volume, 10.0)
    rows = ParticleRows.of(
        "TS_01",
        rng.uniform(-40, 40, (4, 3)),
        rotations=Rotation.random(4, rng).as_matrix(),
        half=np.array([1, 2, 1, 2]),
    )
    particles = Particles("TS_01", ArrayTable(rows.columns()), (series,), (tomogram,))
    cube = rng.normal(size=(6, 6, 6)).astype(np.float32)
    average = Average("all", cube, 5.0, half1=cube + 1, half2=cube - 1, mask=cube * 0 + 1)
    write_relion5([(series, tomogram)], tmp_path)
    doubted = replace(particles, pose_doubt="shells do not tell")
    files, notes = write_relion5_particles([doubted], [average], tmp_path, {"TS_01"})
    assert notes == (no_resolution("shells do not tell"),)
    assert all(path.is_file() for path in files)
    found = read_relion_particles(tmp_path / "optimisation_set.star")
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-5)
    assert_allclose(found.rotations, rows.rotations, atol=1e-6)
    entries = starfile.read(tmp_path / "optimisation_set.star")
    assert_allclose(MrcPixels(tmp_path / entries["rlnTomoReferenceMap1File"])[...], cube + 1)
    with pytest.raises(DataUnfitError, match="no particle is in an exported series"):
        write_relion5_particles([particles], [], tmp_path, {"TS_09"})
