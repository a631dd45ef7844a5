"""Positions of a file: pixels of any binning become angstrom from the centre, and far ones are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.marked_points import read_marked_points
from cryoloom.model import ParticleRows, Tomogram
from cryoloom.procedures.placed_particles import (
    PlacedParticleParams,
    check_places,
    file_of,
    particles_of,
    places_xyz_angstrom,
)
from makers.context import MemoryContext
from makers.made_series import aligned, make_series


@pytest.fixture
def tomogram():
    series = aligned(make_series(n_tilts=5, shape_yx=(128, 128), pixel_size_angstrom=10.0))
    return Tomogram(series, np.zeros((100, 128, 120), np.float32), 10.0)


def test_the_tomogram_names_its_file():
    assert file_of(Path("picks/{tomogram}.txt"), "TS_01") == Path("picks/TS_01.txt")


def test_pixels_count_in_the_volume_that_was_shown(tmp_path, tomogram):
    path = tmp_path / "a.csv"
    path.write_text("x y z\n35 30 22\n")
    (marked,) = read_marked_points(path)
    found = places_xyz_angstrom(marked, tomogram, PlacedParticleParams(picked_pixel_angstrom=20.0))
    assert_allclose(found, [[100, -40, -60]])  # (35 - 60 // 2) 20, (30 - 64 // 2) 20, (22 - 50 // 2) 20


def test_places_a_little_outside_are_accepted_and_far_ones_refused(tomogram):
    inside = np.array([[0.0, 0.0, 0.0], [690.0, 0.0, 0.0]])  # 0.6 of 1200 A is 720 A
    check_places(inside, tomogram)
    check_places(np.zeros((0, 3)), tomogram)
    with pytest.raises(DataUnfitError, match=r"1 of 3 points lie outside the tomogram, one at \[730.0"):
        check_places(np.vstack([inside, [730.0, 0, 0]]), tomogram)


def test_a_particle_set_keeps_what_the_user_says_of_the_particle(tomogram):
    rows = ParticleRows.of(tomogram.name, np.array([[1.0, 2.0, 3.0]]))
    params = PlacedParticleParams(species="capsid", symmetry="I", diameter_angstrom=300.0)
    made = particles_of(tomogram, rows, params, MemoryContext())
    assert (made.name, made.species, made.symmetry, made.diameter_angstrom) == ("TS_01", "capsid", "I", 300.0)
    assert made.tomograms == (tomogram,)
    assert_allclose(made.rows().positions_xyz_angstrom, [[1, 2, 3]])
