"""AreTomo's files: round trips, its own sampling rule, an .aln of AreTomo, dark frames and local rows."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.aretomo.aln import AlnFile, read_aln, read_aretomo, write_aln, write_aretomo
from cryoloom.formats.ctf_programs.ctffind import read_aretomo_ctf
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.imod.transforms import poses_from_xf, xf_from_poses
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Stack, Tilt, TiltSeries
from makers.ctf_series import assert_same_ctfs


def make_series(rng, *, x_tilt=0.0, magnification=1.0, shape=(40, 60)):
    """Five tilts in order of acquisition in the stack, the fourth excluded and without a pose."""
    tilts = tuple(
        Tilt(
            i,
            angle,
            3.0 * i,
            3.0 * i + 3.0,
            section=i,
            pose=Pose(-85.0 + rng.normal(), angle + 7.3, x_tilt, tuple(rng.normal(0, 50, 2)), magnification)
            if i != 3
            else None,
            exclusion=Exclusion.by_step("dark", "select_tilts") if i == 3 else None,
        )
        for i, angle in enumerate([0.0, 20.0, -20.0, -40.0, 40.0])
    )
    images = rng.normal(size=(5, *shape)).astype(np.float32)
    series = TiltSeries("TS_01", Microscope(), 2.7, tilts, stack=Stack(images, 2.7))
    return replace(series, tilts=tuple(sorted(tilts, key=lambda t: t.nominal_tilt_deg)))


@pytest.mark.parametrize("shape", [(40, 60), (41, 61)])
def test_poses_survive_the_round_trip(rng, tmp_path, shape):
    series = make_series(rng, shape=shape)
    paths = write_aretomo([(series, None)], tmp_path)
    assert {path.name for path in paths} == {"TS_01.mrc", "TS_01_TLT.txt", "TS_01.aln"}
    found = read_aretomo(tmp_path / "TS_01.aln", shape, 2.7)
    by_section = {tilt.section: tilt for tilt in series.tilts}
    assert sorted(view.section for view in found.views) == [0, 1, 2, 4]
    assert found.n_sections == 5
    for view in found.views:
        was = by_section[view.section]
        assert view.pose.axis_deg == pytest.approx(was.pose.axis_deg, abs=1e-8)
        assert view.pose.tilt_deg == pytest.approx(was.pose.tilt_deg, abs=1e-8)
        assert view.tilt_deg == pytest.approx(was.nominal_tilt_deg, abs=1e-4)
        np.testing.assert_allclose(view.pose.shift_xy_angstrom, was.pose.shift_xy_angstrom, atol=1e-8)
    aln = read_aln(tmp_path / "TS_01.aln")
    assert aln.dark_frames == ((0, 4, pytest.approx(-40.0, abs=1e-2)),)  # first in tilt, fourth of the stack
    assert (tmp_path / "TS_01_TLT.txt").read_text().split("\n")[3].split() == ["-40.00", "4", "3.000"]


def test_a_point_lands_where_aretomo_samples(rng):
    """raw = middle + T + Rz(ROT) (aligned - middle), pixel i at i + 0.5 (GCorrPatchShift.cu of AreTomo3)."""
    shape = (40, 60)
    pose = Pose(-85.0, 23.0, 0.0, (31.0, -12.0))
    row = AlnFile(
        (1, *shape),
        np.array([1]),
        np.array([pose.axis_deg]),
        np.array([pose.shift_xy_angstrom]) / 2.7 + 0.5,
        np.array([pose.tilt_deg]),
    )
    point = np.array([20.0, -15.0, 9.0])
    # What AreTomo's tomogram shows at the point is column u and row v of the aligned image about its middle.
    u, v = np.array(Pose(0.0, pose.tilt_deg).matrix @ point)[:2] / 2.7
    rot = np.deg2rad(row.axis_deg[0])
    turned = np.array([np.cos(rot) * u - np.sin(rot) * v, np.sin(rot) * u + np.cos(rot) * v])
    raw_index = turned + row.shift_xy_px[0] + np.array([60, 40]) / 2 - 0.5
    ours = (pose.matrix @ point)[:2] + pose.shift_xy_angstrom
    np.testing.assert_allclose(raw_index, ours / 2.7 + np.array([30, 20]), atol=1e-9)


def test_reads_aretomos_own_file(data, tmp_path):
    path = data / "aretomo" / "global_no_local.aln"
    aln = read_aln(path)
    assert aln.raw_shape == (61, 4096, 4096)
    assert (aln.alpha_offset_deg, aln.thickness_px) == (-7.0, 2050)
    assert len(aln.section) == 61
    found = read_aretomo(path, (4096, 4096), 1.91)
    np.testing.assert_allclose(found.views[0].pose.shift_xy_angstrom, 1.91 * np.array([8.720, 103.433]))
    assert found.views[0].pose.axis_deg == -95.404
    assert found.views[0].tilt_deg == pytest.approx(-56.2)
    # Binned images of the same field: positions in angstrom are the same to the half pixel.
    binned = read_aretomo(path, (1024, 1024), 7.64)
    np.testing.assert_allclose(
        binned.views[0].pose.shift_xy_angstrom, found.views[0].pose.shift_xy_angstrom, atol=1e-9
    )
    # The transform AreTomo writes for it (CSaveXF.cpp): Rz(-ROT) and minus the turned shift.
    first = xf_from_poses([found.views[0].pose], 1.91, (4096, 4096))[0]
    rot = np.deg2rad(-95.404)
    np.testing.assert_allclose(
        first[:, :2], [[np.cos(rot), np.sin(rot)], [-np.sin(rot), np.cos(rot)]], atol=1e-12
    )
    np.testing.assert_allclose(first[:, 2], -first[:, :2] @ [9.220, 103.933], atol=1e-9)
    assert poses_from_xf(first[None], [-63.2], 1.91, (4096, 4096))[0].axis_deg == pytest.approx(-95.404)
    write_aln(tmp_path / "again.aln", aln)
    again = read_aln(tmp_path / "again.aln")
    np.testing.assert_array_equal(again.shift_xy_px, aln.shift_xy_px)
    np.testing.assert_array_equal(again.tilt_deg, aln.tilt_deg)


def test_local_rows_and_dark_frames_survive(rng, tmp_path):
    local = np.array([[t, p, 10.0 * p, -5.0, 0.25 * t, 0.5, 1.0] for t in range(3) for p in range(4)])
    aln = AlnFile(
        (5, 40, 60),
        np.array([2, 3, 5]),
        np.full(3, 84.5),
        rng.normal(size=(3, 2)).round(9),
        np.array([-20.0, 0.0, 40.0]),
        ((0, 1, -40.0), (3, 4, 20.0)),
        alpha_offset_deg=2.0,
        beta_offset_deg=-1.5,
        thickness_px=300,
        local=local,
    )
    write_aln(tmp_path / "a.aln", aln)
    again = read_aln(tmp_path / "a.aln")
    np.testing.assert_array_equal(again.local, local)
    np.testing.assert_array_equal(again.shift_xy_px, aln.shift_xy_px)
    assert (again.dark_frames, again.thickness_px, again.beta_offset_deg) == (aln.dark_frames, 300, -1.5)
    found = read_aretomo(tmp_path / "a.aln", (40, 60), 2.7)
    views, notes = found.views, found.notes
    # All patches of an image agree, so it is moved as a whole.
    assert [view.pose.warp.displacement([[0.0, 0.0]])[0, 0] for view in views] == pytest.approx(
        [0.0, 0.675, 1.35], abs=0.01
    )
    assert any("BetaOffset -1.5" in note for note in notes)


def test_sections_of_old_versions_count_from_zero(tmp_path):
    aln = AlnFile((3, 40, 60), np.array([0, 2]), np.zeros(2), np.zeros((2, 2)), np.array([-20.0, 20.0]))
    write_aln(tmp_path / "a.aln", aln)
    assert [view.section for view in read_aretomo(tmp_path / "a.aln", (40, 60), 2.7).views] == [0, 2]


def test_what_an_aln_file_cannot_hold_is_refused(rng, tmp_path):
    with pytest.raises(DataUnfitError, match="magnification"):
        write_aretomo([(make_series(rng, magnification=1.03), None)], tmp_path)
    series = make_series(rng, x_tilt=2.0)
    write_aretomo([(series, None)], tmp_path)
    assert "x-tilt" in (tmp_path / "NOTES.txt").read_text()
    differing = series.with_tilts({0: {"pose": replace(series.tilts[2].pose, x_tilt_deg=0.0)}})
    with pytest.raises(DataUnfitError, match="differ in x-tilt"):
        write_aretomo([(differing, None)], tmp_path)


def test_images_of_another_field_are_refused(tmp_path):
    aln = AlnFile((1, 512, 512), np.array([1]), np.zeros(1), np.zeros((1, 2)), np.zeros(1))
    write_aln(tmp_path / "a.aln", aln)
    with pytest.raises(DataUnfitError, match="neither the same nor a binning"):
        read_aretomo(tmp_path / "a.aln", (1024, 1440), 2.7)


@pytest.mark.parametrize("text", ["", "# RawSize = 4 4 1\n", "# RawSize = 4 4 1\n1 2 3\n"])
def test_refuses_what_is_no_alignment(text, tmp_path):
    (tmp_path / "a.aln").write_text(text)
    with pytest.raises(DataUnfitError, match=r"a\.aln"):
        read_aln(tmp_path / "a.aln")


def test_ctfs_are_written_where_there_are_any(rng, tmp_path):
    series = make_series(rng)
    assert not any(path.name.endswith("_CTF.txt") for path in write_aretomo([(series, None)], tmp_path / "a"))
    known = series.with_tilts(
        {
            t.acquisition_index: {"ctf": Ctf(30000.0 + t.acquisition_index, 29000.0, 20.0)}
            for t in series.tilts
        }
    )
    write_aretomo([(known, None)], tmp_path / "b")
    found = ctfs_by_tilt(read_aretomo_ctf(tmp_path / "b" / f"{series.name}_CTF.txt"), known)
    assert_same_ctfs(found, known, to_angstrom=0.01)


def test_local_rows_displace_the_image_as_aretomo_does(rng, tmp_path):
    """GCorrPatchShift.cu of AreTomo2: good patches' shifts, weighted about a point before T is added."""
    n, size, pixel = 3, np.array([600.0, 480.0]), 2.0
    grid = np.stack(np.meshgrid(np.linspace(-200, 200, 4), np.linspace(-160, 160, 4)), -1).reshape(-1, 2)
    shifts = 0.02 * grid @ np.array([[1.0, 0.3], [-0.2, 0.8]]) + rng.normal(0, 0.3, grid.shape)
    local = np.array(
        [[t, p, *grid[p], *(shifts[p] * (t + 1)), float(p != 5)] for t in range(n) for p in range(16)]
    )
    table = AlnFile(
        (n, 480, 600), np.arange(1, n + 1), np.full(n, 85.0), rng.normal(0, 20, (n, 2)),
        np.array([-30.0, 0.0, 30.0]), local=local,
    )  # fmt: skip
    write_aln(tmp_path / "a.aln", table)
    found = read_aretomo(tmp_path / "a.aln", (480, 600), pixel)
    for t, view in enumerate(found.views):
        missed = []
        for q in rng.uniform(-0.4, 0.4, (20, 2)) * size:
            weight = np.exp(-100 * (((q - grid) / size) ** 2).sum(axis=1)) * (np.arange(16) != 5)
            wanted = (t + 1) * weight @ shifts / weight.sum()
            # Our position of the point is q moved by the pose's shift.
            position = q * pixel + view.pose.shift_xy_angstrom
            missed.append(view.pose.warp.displacement(position[None])[0] / pixel - wanted)
        # Weights so narrow make plateaus about the patches, which smooth displacements round off.
        assert np.sqrt(np.mean(np.square(missed))) < 0.12 * (t + 1) * np.sqrt(np.mean(shifts**2))
    written = replace(table, local=np.where(np.arange(7) == 6, 0.0, local))
    write_aln(tmp_path / "a.aln", written)
    assert all(view.pose.warp is None for view in read_aretomo(tmp_path / "a.aln", (480, 600), pixel).views)
