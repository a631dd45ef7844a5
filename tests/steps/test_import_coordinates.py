"""Particles of other programs at their places, with their rotations and priors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.picks.particle_formats import PARTICLE_FORMATS
from cryoloom.formats.picks.volumes import PickVolume
from cryoloom.formats.relion.particles import RelionOptics, write_relion_particles
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.model import ParticleRows, Tomogram
from cryoloom.steps.import_coordinates import ImportCoordinatesParams, import_coordinates
from makers.context import MemoryContext
from makers.made_series import aligned, make_series


@pytest.fixture
def tomogram():
    series = aligned(make_series(n_tilts=5, shape_yx=(128, 128), pixel_size_angstrom=10.0))
    return Tomogram(series, np.zeros((100, 128, 120), np.float32), 10.0)


def imported(tomogram, path, context=None, **more):
    params = ImportCoordinatesParams(file=path, **more)
    return import_coordinates(tomogram, params, context or MemoryContext()).rows()


def test_relions_particles_come_back_with_rotations_and_priors(tmp_path, tomogram, rng):
    rotations = rotation_grid(90.0)[:6]
    rows = ParticleRows(
        tomogram=np.array(["TS_01"] * 4 + ["TS_02"] * 2),
        particle=np.array([1, 2, 3, 4, 1, 2]),
        positions_xyz_angstrom=rng.uniform(-400, 400, (6, 3)),
        rotations=rotations,
        prior_directions=rotations[:, :, 2],
        prior_width_deg=np.full(6, 10.0),
    )
    optics = dict.fromkeys(("TS_01", "TS_02"), RelionOptics("one", 300.0, 2.7, 0.1, 10.0))
    write_relion_particles(tmp_path, rows, optics)
    context = MemoryContext()
    found = imported(tomogram, tmp_path / "particles.star", context)
    assert found.tomogram.tolist() == ["TS_01"] * 4
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom[:4], atol=1e-3)
    assert_allclose(found.rotations, rotations[:4], atol=1e-5)
    assert_allclose(found.prior_directions, rotations[:4, :, 2], atol=1e-5)
    assert context.figures == {"n_particles": 4, "n_others": 2}
    with pytest.raises(UserInputError, match="cannot be mirrored"):
        imported(tomogram, tmp_path / "particles.star", flip_z=True)


def test_pixels_count_in_the_volume_they_were_picked_in(tmp_path, tomogram):
    path = tmp_path / "TS_01.txt"
    path.write_text("60 64 50\n70 60 45\n")
    file = tmp_path / "{tomogram}.txt"
    assert_allclose(imported(tomogram, file).positions_xyz_angstrom, [[0, 0, 0], [100, -40, -50]])
    flipped = imported(tomogram, file, flip_z=True).positions_xyz_angstrom
    assert_allclose(flipped, [[0, 0, 0], [100, -40, 50]])
    finer = imported(tomogram, file, picked_pixel_angstrom=8.0).positions_xyz_angstrom
    assert_allclose(finer[0], [8 * (60 - 75), 8 * (64 - 80), 8 * (50 - 62)])


def test_what_cannot_be_right_is_reported(tmp_path, tomogram):
    far = tmp_path / "far.txt"
    far.write_text("60 64 50\n500 64 50\n")
    with pytest.raises(DataUnfitError, match="1 of 2 points lie outside"):
        imported(tomogram, far)
    with pytest.raises(UserInputError, match="no file"):
        import_coordinates(tomogram, ImportCoordinatesParams(), MemoryContext())
    with pytest.raises(UserInputError, match="does not exist"):
        imported(tomogram, tmp_path / "none.star")
    (tmp_path / "a.tbl").write_text("1\n")
    with pytest.raises(DataUnfitError, match="a Dynamo table has at least 26"):
        imported(tomogram, tmp_path / "a.tbl")
    other = tmp_path / "other.csv"
    other.write_text("tomogram,x,y,z\nTS_09,1,2,3\n")
    context = MemoryContext()
    assert imported(tomogram, other, context).n == 0
    assert "no particles of TS_01; it has some of ['TS_09']" in context.warnings[0]


def test_a_dynamo_table_gives_angles_too(tmp_path, tomogram, rng):
    rows = ParticleRows.of(
        "TS_01",
        rng.uniform(-300, 300, (3, 3)),
        rotations=rotation_grid(90.0)[1:4],
        score=np.array([3.0, 2, 1]),
    )
    volumes = {"TS_01": PickVolume((100, 128, 120), 10.0)}
    path = PARTICLE_FORMATS["dynamo"].write(tmp_path, rows, volumes)[0]
    found = imported(tomogram, path)
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-4)
    assert_allclose(found.rotations, rows.rotations, atol=1e-8)
    # Picked at half the voxel: the same places.
    volumes = {"TS_01": PickVolume((200, 256, 240), 5.0)}
    path = PARTICLE_FORMATS["dynamo"].write(tmp_path, rows, volumes)[0]
    found = imported(tomogram, path, picked_pixel_angstrom=5.0)
    assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-4)


def test_what_the_model_has_no_place_for_stays(tmp_path, tomogram):
    path = tmp_path / "p.star"
    names = [
        "rlnTomoName",
        *(f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"),
        "rlnMaxValueProbDistribution",
    ]
    path.write_text(
        "data_particles\n\nloop_\n" + "".join(f"_{name}\n" for name in names) + "TS_01 1 2 3 0.5\n"
    )
    assert imported(tomogram, path).others["rlnMaxValueProbDistribution"].tolist() == [0.5]
