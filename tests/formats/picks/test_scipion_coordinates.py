"""Sets of coordinates of Scipion."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.dynamo.table import dynamo_rotations
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from makers.pick_files import VOLUMES


def test_scipion_s_matrix_moves_the_coordinate(tmp_path):
    """As scipion-em-dynamo stores a Dynamo particle: R from its angles, t = -R times its shift."""
    scipion = Rotation.from_euler("zxz", [20, 70, -35], degrees=True).as_matrix()
    shift = np.array([1.0, -2.0, 0.5])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scipion, -scipion @ shift
    path = tmp_path / "coordinates.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE Properties (key TEXT, value TEXT)")
        database.execute("INSERT INTO Properties VALUES ('_samplingRate', '5.4')")
        database.execute(
            "CREATE TABLE Classes (id INTEGER, label_property TEXT, column_name TEXT, class_name TEXT)"
        )
        names = ["_x", "_y", "_z", "_eulerMatrix._matrix", "_groupId", "_tomoId"]
        for i, name in enumerate(names):
            database.execute("INSERT INTO Classes VALUES (?, ?, ?, '')", (i, name, f"c{i:02d}"))
        database.execute("CREATE TABLE Objects (id INTEGER, enabled INTEGER, c00, c01, c02, c03, c04, c05)")
        values = (3, 1, 10.0, 20.0, -30.0, json.dumps(matrix.tolist()), 2, "TS_17")
        database.execute("INSERT INTO Objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    database.close()
    found = PARTICLE_FORMATS["scipion"].read(path, VOLUMES)
    assert found.tomogram.tolist() == ["TS_17"]
    assert_allclose(found.positions_xyz_angstrom, [(np.array([10.0, 20.0, -30.0]) + shift) * 5.4])
    assert_allclose(found.rotations[0], dynamo_rotations([[20, 70, -35]])[0], atol=1e-12)
    assert found.surface.tolist() == [2]
    path.write_bytes(b"no database at all" * 40)
    with pytest.raises(DataUnfitError, match="cannot be read as a set of Scipion"):
        PARTICLE_FORMATS["scipion"].read(path, VOLUMES)
