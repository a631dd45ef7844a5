"""Files beside an image: angles for every section, alignment, points where they are in the volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryoloom.errors import UserInputError
from cryoloom.formats.dynamo.table import write_dynamo_table
from cryoloom.formats.imod.model import ImodModel, ImodObject, write_model
from cryoloom.formats.imod.transforms import write_xf, xf_from_poses
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.formats.relion.particles import RelionOptics, write_relion_particles
from cryoloom.model import ParticleRows, Pose
from cryoloom.web.pictures.beside import beside, placements_of, point_sets_of, tilt_angles_of
from cryoloom.web.pictures.files_view import FilesView
from cryoloom.web.pictures.images import ImageShelf

SHAPE = (20, 31, 40)  # z, y, x
PLACES = np.array([[12.0, 7.0, 3.0], [33.0, 21.0, 15.0]])  # x, y, z: indices of voxels


def test_angles_come_from_the_file_that_has_one_for_every_section(tmp_path: Path) -> None:
    stack = tmp_path / "TS_01.st"
    (tmp_path / "TS_01.rawtlt").write_text("-3\n0\n")  # of another stack
    (tmp_path / "TS_01.st.mdoc").write_text(
        "".join(f"[ZValue = {i}]\nTiltAngle = {angle}\n\n" for i, angle in enumerate((-3.0, 0.0, 3.0)))
    )
    files = beside(stack)
    assert [path.name for path in files] == ["TS_01.rawtlt", "TS_01.st.mdoc"]
    assert tilt_angles_of(files, 3) == (-3.0, 0.0, 3.0)
    assert tilt_angles_of(files, 2) == (-3.0, 0.0)
    assert tilt_angles_of(files, 7) == ()


def test_a_transform_places_images_as_their_poses_do(tmp_path: Path) -> None:
    poses = [Pose(84.0, -3.0, shift_xy_angstrom=(12.0, -8.0)), Pose(85.0, 0.0, shift_xy_angstrom=(0.0, 4.0))]
    write_xf(tmp_path / "a.xf", xf_from_poses(poses, 2.0, (30, 41)))
    found = placements_of([tmp_path / "a.xf"], (), (30, 41))
    assert np.allclose(found, [(84.0, 6.0, -4.0), (85.0, 0.0, 2.0)], atol=1e-5)


def test_points_of_every_format_are_where_their_voxels_are(tmp_path: Path) -> None:
    size, middle = 8.0, np.array(SHAPE[::-1]) // 2
    rows = ParticleRows.of("tomo", (PLACES - middle) * size)
    corner = np.array([0.5, 0.5, 0.0])  # IMOD counts x and y from it
    write_model(tmp_path / "tomo.mod", ImodModel(SHAPE, (ImodObject("picks", (PLACES + corner,)),), size))
    write_dynamo_table(tmp_path / "tomo.tbl", rows, size, {"tomo": SHAPE})
    (tmp_path / "tomo.csv").write_text("x,y,z\n" + "\n".join(",".join(map(str, one)) for one in PLACES))
    optics = {"tomo": RelionOptics("optics1", 300.0, 2.7, 0.1, 2.0)}
    star, *_ = write_relion_particles(tmp_path, rows, optics)
    star.rename(tmp_path / "tomo.star")
    sets = {one.name: one for one in point_sets_of(beside(tmp_path / "tomo.mrc"), SHAPE, size)}
    assert set(sets) == {"tomo.mod", "tomo.tbl", "tomo.csv", "tomo.star"}
    for name, one in sets.items():
        np.testing.assert_allclose(one.points, PLACES + 0.5, atol=1e-3, err_msg=name)


def test_side_files_may_be_given_and_need_an_image(tmp_path: Path) -> None:
    write_mrc(tmp_path / "v.mrc", np.zeros(SHAPE, np.float32), 8.0, kind="volume")
    (tmp_path / "picks.csv").write_text("x,y,z\n1,2,3\n")
    shelf = ImageShelf(tmp_path / "cache")
    view = FilesView([tmp_path / "v.mrc", tmp_path / "picks.csv"], shelf)
    assert [one.path.name for one in view.files] == ["v.mrc"]
    assert view.files[0].points[0].points.tolist() == [[1.5, 2.5, 3.5]]
    with pytest.raises(UserInputError, match="no image was given"):
        FilesView([tmp_path / "picks.csv"], shelf)
    shelf.close()
