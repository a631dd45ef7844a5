"""What other programs are given: picks, places on surfaces with their normals, particles of one tomogram."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.geometry.rotations import rotation_y
from cryoloom.model import ParticleRows
from cryoloom.web.other_programs.scene import Scene, file_of, sets_of_particles, sets_of_picks


def test_picks_are_places_and_places_on_a_surface_are_turned_by_their_normals() -> None:
    normals = [[0.0, 0.6, 0.8], [-1.0, 0.0, 0.0]]
    points, surface = sets_of_picks(
        {"ribosome": [["a1", 10.0, -20.0, 30.0, "anna"]]},
        {
            "membrane/1": {"places": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "normals": normals},
            "empty": {"places": []},
        },
    )
    assert (points.name, points.rotations) == ("ribosome", None)
    assert_allclose(points.positions_xyz_angstrom, [[10, -20, 30]])
    assert surface.name == "membrane/1"
    assert_allclose(surface.rotations[:, :, 2], normals, atol=1e-12)


def test_particles_of_other_tomograms_are_left_out() -> None:
    rows = ParticleRows(
        tomogram=np.array(["TS_1", "TS_2", "TS_1"]),
        particle=np.arange(3),
        positions_xyz_angstrom=np.arange(9.0).reshape(3, 3),
        rotations=np.stack([np.eye(3), np.eye(3), rotation_y(90.0)]),
    )
    found = sets_of_particles("all", rows, "TS_1", 120.0, None)
    assert_allclose(found.positions_xyz_angstrom, [[0, 1, 2], [6, 7, 8]])
    assert_allclose(found.rotations[1], rotation_y(90.0))


def test_a_volume_knows_its_file_and_its_centre(tmp_path: Path) -> None:
    write_mrc(tmp_path / "v.mrc", np.zeros((5, 6, 9), np.float32), 10.0, kind="volume")
    assert file_of(MrcPixels(tmp_path / "v.mrc")) == tmp_path / "v.mrc"
    assert file_of(np.zeros((2, 2, 2))) is None
    assert Scene("TS", tmp_path / "v.mrc", (5, 6, 9), 10.0).centre_index_xyz == (4, 3, 2)
