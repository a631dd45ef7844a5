"""RELION's particle files: written and read again, and as RELION and WarpTools wrote them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import starfile
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.formats.relion.particles import (
    RelionOptics,
    read_relion_particles,
    write_relion_particles,
)
from cryoloom.formats.relion.star_tables import write_blocks
from cryoloom.model import ParticleRows

OPTICS = {name: RelionOptics("optics1", 300.0, 2.7, 0.1, 1.35) for name in ("TS_01", "TS_02")}


def some_rows(rng, **more):
    parts = [
        ParticleRows.of(
            name,
            rng.uniform(-900, 900, (n, 3)),
            rotations=Rotation.random(n, rng).as_matrix(),
            half=rng.integers(1, 3, n),
            **{key: make(n) for key, make in more.items()},
        )
        for name, n in (("TS_01", 5), ("TS_02", 3))
    ]
    return ParticleRows.joined(parts)


@pytest.mark.parametrize("with_prior", [False, True])
def test_particles_come_back(tmp_path, rng, with_prior):
    def directions(n):
        drawn = rng.normal(size=(n, 3))
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    more = {"prior_directions": directions, "prior_width_deg": lambda n: np.full(n, 10.0)}
    rows = some_rows(rng, **(more if with_prior else {}))
    write_relion_particles(tmp_path, rows, OPTICS)
    for name in ("particles.star", "optimisation_set.star"):
        (tmp_path / "tomograms.star").write_text("data_global\n\nloop_\n_rlnTomoName #1\nTS_01\nTS_02\n")
        found = read_relion_particles(tmp_path / name)
        assert_array_equal(found.tomogram, rows.tomogram)
        assert_array_equal(found.particle, rows.particle)
        assert_array_equal(found.half, rows.half)
        # Six decimals of an angstrom and of a degree.
        assert_allclose(found.positions_xyz_angstrom, rows.positions_xyz_angstrom, atol=1e-6)
        assert_allclose(found.rotations, rows.rotations, atol=1e-7)
        if with_prior:
            assert_allclose(found.prior_directions, rows.prior_directions, atol=1e-7)


def test_origins_are_taken_off_in_the_subtomogram_s_frame(tmp_path, rng):
    rows = some_rows(rng)
    write_relion_particles(tmp_path, rows, OPTICS)
    blocks = starfile.read(tmp_path / "particles.star")
    table = blocks["particles"]
    table["rlnOriginXAngst"] = 10.0
    table["rlnTomoSubtomogramRot"], table["rlnTomoSubtomogramTilt"] = 0.0, 90.0
    table["rlnTomoSubtomogramPsi"] = 0.0
    starfile.write(blocks, tmp_path / "moved.star")
    found = read_relion_particles(tmp_path / "moved.star")
    # A_subtomogram is the transpose of Ry(90): x of the subtomogram is z of the tomogram.
    assert_allclose(
        found.positions_xyz_angstrom - rows.positions_xyz_angstrom, np.tile([0.0, 0.0, -10.0], (rows.n, 1)),
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize(("size", "halves"), [((64, 48, 20), (0, 0, 0)), ((65, 48, 21), (0.5, 0, 0.5))])
def test_centred_coordinates_in_tomograms_of_odd_size_are_where_relion_takes_them(tmp_path, size, halves):
    """RELION 5.0.1 counts from half the size and projects about its whole part: seen in images it cut out."""
    shape = dict(zip(("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ"), size, strict=True))
    tomogram = {"rlnTomoName": "TS_1", "rlnTomoTiltSeriesPixelSize": 3.0, **shape}
    place = dict(
        zip([f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"], (10.0, -20.0, 5.0), strict=True)
    )
    write_blocks(tmp_path / "tomograms.star", {"global": [tomogram]})
    write_blocks(tmp_path / "particles.star", {"particles": [{"rlnTomoName": "TS_1", **place}]})
    files = {"rlnTomoParticlesFile": "particles.star", "rlnTomoTomogramsFile": "tomograms.star"}
    write_blocks(tmp_path / "optimisation_set.star", {"": [files]})
    rows = read_relion_particles(tmp_path / "optimisation_set.star")
    expected = np.array([10.0, -20.0, 5.0]) + 3.0 * np.array(halves)
    np.testing.assert_allclose(rows.positions_xyz_angstrom, [expected], atol=1e-6)


def test_a_corner_coordinate_is_counted_from_the_middle_of_the_volume(tmp_path):
    star = tmp_path / "picks.star"
    star.write_text(
        "data_particles\n\nloop_\n_rlnTomoName #1\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
        "_rlnCoordinateZ #4\n_rlnTomoTiltSeriesPixelSize #5\n_rlnOpticsGroup #6\nTS_01 50 30 11 2.0 1\n"
        "\ndata_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnTomoTiltSeriesPixelSize #2\n1 2.0\n"
    )
    found = read_relion_particles(star, tomogram_shapes_px={"TS_01": (21, 60, 100)})
    assert_allclose(found.positions_xyz_angstrom, [[0.0, 0.0, 2.0]])
    with pytest.raises(DataUnfitError, match="size is not known"):
        read_relion_particles(star)


def test_real_particles_on_spheres_have_the_normal_as_their_prior(tmp_path, data):
    text = (data / "relion5/empiar-10164/Extract_particles_head.star").read_text().splitlines()
    head = tmp_path / "head.star"
    head.write_text("\n".join(text[:-1]) + "\n")  # its last line is cut off
    rows = read_relion_particles(head)
    assert rows.n == 87
    # First sphere of Picks/job009: (444.971, 185.166, 208.642) in 10 A pixels of a tomogram of 5400 x 5400 x
    # 2700 A, radius 43.955 pixels.
    centre = np.array([444.970917, 185.166000, 208.641861]) * 10 - [2700, 2700, 1350]
    outward = rows.positions_xyz_angstrom - centre
    near = np.linalg.norm(outward, axis=1) < 480
    normal = outward[near] / np.linalg.norm(outward[near], axis=1, keepdims=True)
    assert near.sum() > 20
    angle = np.rad2deg(np.arccos((normal * rows.prior_directions[near]).sum(axis=1)))
    # Refined positions have moved off the sphere they were sampled on by some of its 440 A.
    assert np.median(angle) < 6
    turned = np.rad2deg(np.arccos((normal * rows.rotations[near][:, :, 2]).sum(axis=1)))
    assert np.median(turned) < 15
    assert_array_equal(np.unique(rows.half), [1, 2])


def test_a_cut_file_is_reported(data):
    with pytest.raises(DataUnfitError, match="cut off"):
        read_relion_particles(data / "relion5/empiar-10164/Extract_particles_head.star")


def test_warptools_exports_are_read(data):
    folder = data / "sta/warptools"
    (star,) = Path(folder).glob("*_optimisation_set.star")
    rows = read_relion_particles(star)
    assert rows.n == 40
    assert sorted(set(rows.tomogram.tolist())) == ["Unt_050", "Unt_076", "Unt_083", "Unt_088"]
    # 494.521 pixels of 12 A from the corner of 4400 pixels of 1.667 A.
    assert_allclose(rows.positions_xyz_angstrom[0, 0], 494.521 * 12 - 2200 * 1.667, atol=1e-2)
