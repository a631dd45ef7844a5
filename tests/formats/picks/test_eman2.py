"""Boxes of EMAN2."""

from __future__ import annotations

import json

import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from makers.pick_files import VOLUMES


def test_eman2_counts_from_the_middle_or_the_corner(tmp_path):
    path = tmp_path / "TS_17_info.json"
    boxes = [[10.0, -20.0, 5.0, "manual", 0.7, 1]]
    path.write_text(json.dumps({"apix_unbin": 1.96, "boxes_3d": boxes, "class_list": {}}))
    found = PARTICLE_FORMATS["eman2"].read(path, VOLUMES)
    assert_allclose(found.positions_xyz_angstrom, [[19.6, -39.2, 9.8]])
    path.write_text(json.dumps({"boxes_3d": [[199, 200, 125, "manual", 0.7, 1]]}))
    assert_allclose(PARTICLE_FORMATS["eman2"].read(path, VOLUMES).positions_xyz_angstrom, [[0, 0, 0]])


def test_a_file_without_boxes_is_refused(tmp_path):
    path = tmp_path / "TS_17_info.json"
    path.write_text(json.dumps({"apix_unbin": 1.96}))
    with pytest.raises(DataUnfitError, match="has no 'boxes_3d'; it has"):
        PARTICLE_FORMATS["eman2"].read(path, VOLUMES)
