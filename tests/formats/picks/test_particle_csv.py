"""Tables of the project's own."""

from __future__ import annotations

import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.particle_csv import is_particle_csv, read_particle_csv, write_particle_csv
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from makers.pick_files import VOLUMES, some_particles


def test_a_table_of_the_project_s_own_loses_nothing(tmp_path, rng):
    rows = some_particles(rng)
    (path,) = PARTICLE_FORMATS["csv"].write(tmp_path, rows, VOLUMES)
    found = PARTICLE_FORMATS["csv"].read(path, VOLUMES).columns()
    for name, values in rows.columns().items():
        assert_array_equal(found[name], values)


def test_tables_with_rotations_are_particles_and_others_points(tmp_path, rng):
    (path,) = write_particle_csv(tmp_path, some_particles(rng), VOLUMES)
    assert is_particle_csv(path)
    (tmp_path / "points.csv").write_text("x_angstrom,y_angstrom,z_angstrom\n1,2,3\n")
    assert not is_particle_csv(tmp_path / "points.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    assert not is_particle_csv(tmp_path / "binary.csv")


def test_a_line_of_another_length_is_named(tmp_path, rng):
    (path,) = write_particle_csv(tmp_path, some_particles(rng), VOLUMES)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3].rsplit(",", 1)[0], *lines[4:]]))
    with pytest.raises(DataUnfitError, match=r"line 4 of .* has another number of values than the header"):
        read_particle_csv(path, VOLUMES)
