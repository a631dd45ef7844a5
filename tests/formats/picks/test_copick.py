"""Points of copick."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS, format_of_file
from makers.pick_files import VOLUMES, VOXEL


def test_copick_adds_the_translation_of_the_transformation(tmp_path):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    matrix[:3, 3] = 1.0, 2.0, 3.0
    location = {"x": 199 * VOXEL, "y": 200 * VOXEL, "z": 125 * VOXEL}
    point = {"location": location, "transformation_": matrix.tolist(), "instance_id": 4, "score": 0.25}
    data = {"pickable_object_name": "ribosome", "user_id": "u", "session_id": "1", "run_name": "TS_17"}
    data |= {"voxel_spacing": VOXEL, "unit": "angstrom", "points": [point]}
    path = tmp_path / "u_1_ribosome.json"
    path.write_text(json.dumps(data))
    assert format_of_file(path) == "copick"
    found = PARTICLE_FORMATS["copick"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[1.0, 2.0, 3.0]], atol=1e-9)
    assert_allclose(found.rotations[0], matrix[:3, :3])
    path.write_text(json.dumps(data | {"unit": "nanometer"}))
    with pytest.raises(DataUnfitError, match="expected angstrom"):
        PARTICLE_FORMATS["copick"].read(path, VOLUMES)
