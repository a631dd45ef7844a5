"""Points of CETS."""

from __future__ import annotations

import json

import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import UserInputError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file
from makers.pick_files import VOLUMES


def test_cets_points_in_a_data_set(tmp_path):
    axes = [{"name": axis, "axis_unit": "pixel", "axis_type": "array"} for axis in "xyz"]
    points = {"origin3D": [[199, 200, 125]], "coordinate_systems": [{"name": "array", "axes": axes}]}
    path = tmp_path / "TS_17.json"
    path.write_text(json.dumps({"name": "set", "regions": [{"annotations": [points, {"path": "x"}]}]}))
    assert format_of_file(path) == "cets"
    found = PARTICLE_FORMATS["cets"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[0, 0, 0]])
    path.write_text(json.dumps({"something": 1}))
    with pytest.raises(UserInputError, match="expected EMAN2's"):
        format_of_file(path)
