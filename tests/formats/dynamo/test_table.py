"""Dynamo's tables: angles against RELION's, centres, and a real file."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.dynamo.table import (
    dynamo_angles_deg,
    dynamo_rotations,
    read_dynamo_table,
    write_dynamo_table,
)
from cryoloom.geometry.rotations import euler_zyz_deg
from cryoloom.model import ParticleRows


def test_angles_mean_what_relion_s_mean():
    # Triples of one particle whose reconstructions in Dynamo and RELION are the same, as
    # alisterburt/eulerangles notes them: rot and tilt are given to four decimals.
    rotation = dynamo_rotations([[-47.2730, 1.1777, -132.3000]])
    rot, tilt, psi = euler_zyz_deg(rotation)[0]
    assert_allclose((rot, tilt), (137.7000, 1.1777), atol=1e-3)
    assert_allclose(psi, 90 - 47.2730, atol=1e-3)


def test_angles_come_back(rng):
    rotations = Rotation.random(20, rng).as_matrix()
    assert_allclose(dynamo_rotations(dynamo_angles_deg(rotations)), rotations, atol=1e-12)
    poles = np.stack([np.eye(3), np.diag([1.0, -1.0, -1.0])])
    assert_allclose(dynamo_rotations(dynamo_angles_deg(poles)), poles, atol=1e-12)


def test_a_table_comes_back(tmp_path, rng):
    rows = ParticleRows.of(
        "TS_1",
        rng.uniform(-400, 400, (6, 3)),
        rotations=Rotation.random(6, rng).as_matrix(),
        surface=np.arange(6),
    )
    shapes = {"TS_1": (101, 200, 150)}
    write_dynamo_table(tmp_path / "p.tbl", rows, 5.0, shapes)
    found = read_dynamo_table(tmp_path / "p.tbl", 5.0, {1: shapes["TS_1"]}, {1: "TS_1"})
    assert_array_equal(found.tomogram, rows.tomogram)
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-6)
    assert_allclose(found.rotations, rows.rotations, atol=1e-8)
    assert_array_equal(found.surface, rows.surface)


def test_the_middle_voxel_is_the_origin(tmp_path):
    values = np.zeros((1, 35))
    values[0, [0, 19, 23, 24, 25]] = 1, 7, 51, 101, 26  # one-based, of 100 x 200 x 50
    np.savetxt(tmp_path / "p.tbl", values)
    found = read_dynamo_table(tmp_path / "p.tbl", 4.0, {7: (50, 200, 100)})
    assert_allclose(found.positions_xyz_angstrom, [[0.0, 0.0, 0.0]])
    assert found.tomogram.tolist() == ["7"]
    with pytest.raises(DataUnfitError, match="shapes are not given"):
        read_dynamo_table(tmp_path / "p.tbl", 4.0, {})


def test_a_real_table_is_read(data):
    table = data / "dynamo/t_double.tbl"
    numbers = set(np.loadtxt(table)[:, 19].astype(int).tolist())
    rows = read_dynamo_table(table, 1.0, {n: (400, 400, 400) for n in numbers})
    assert rows.n == len(np.loadtxt(table))
    # First row: x 141.28 and dx 2.5178, one-based.
    assert_allclose(rows.positions_xyz_angstrom[0, 0], 141.28 + 2.5178 - 1 - 200)
    assert_allclose(np.linalg.det(rows.rotations), 1.0)
