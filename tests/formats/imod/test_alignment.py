"""An IMOD folder: tilt.com's angles, SHIFT and exclusions; what cannot be kept is said."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.alignment import read_imod
from cryoloom.formats.imod.transforms import write_angles, write_xf, xf_from_poses
from cryoloom.model import Pose

SHAPE, PIXEL = (40, 60), 2.7
ANGLES = np.array([-40.0, -20.0, 0.0, 20.0, 40.0])


def write_folder(folder, rng, *, magnification=1.0):
    poses = [Pose(85.0, a + 0.3, 1.0, tuple(rng.normal(0, 30, 2)), magnification) for a in ANGLES]
    write_xf(folder / "a.xf", xf_from_poses(poses, PIXEL, SHAPE))
    write_angles(folder / "a.tlt", [pose.tilt_deg for pose in poses])
    write_angles(folder / "a.rawtlt", ANGLES)
    write_angles(folder / "a.xtilt", [pose.x_tilt_deg for pose in poses])
    return poses


def test_angles_of_tilt_com_are_part_of_the_poses(rng, tmp_path):
    poses = write_folder(tmp_path, rng)
    (tmp_path / "tilt.com").write_text(
        "$tilt -StandardInput\nOFFSET 9.5\nXAXISTILT 2.0\nSHIFT 3 -40\nEXCLUDELIST 2,5\nFULLIMAGE 60 40\n"
    )
    found = read_imod(tmp_path / "a.xf", SHAPE, PIXEL)
    assert [view.used for view in found.views] == [True, False, True, True, False]
    assert found.notes == ()
    for view, pose, angle in zip(found.views, poses, ANGLES, strict=True):
        assert view.pose.tilt_deg == pytest.approx(pose.tilt_deg + 9.5)
        assert view.pose.x_tilt_deg == pytest.approx(1.0 - 2.0)
        assert view.tilt_deg == angle
        np.testing.assert_allclose(view.pose.shift_xy_angstrom, pose.shift_xy_angstrom, atol=1e-5)


def test_the_origin_can_be_the_centre_of_imods_tomogram(rng, tmp_path):
    """A point of IMOD's volume, projected with tilt.f90's own formulas, lies where the moved pose says."""
    poses = write_folder(tmp_path, rng, magnification=1.01)
    (tmp_path / "tilt.com").write_text("$tilt -StandardInput\nOFFSET 4 5\nXAXISTILT -1\nSHIFT 3 -40\n")
    (tmp_path / "newst.com").write_text("$newstack -StandardInput\nOffsetsInXandY 6,-9\nBinByFactor 4\n")
    found = read_imod(tmp_path / "a.xf", SHAPE, PIXEL, keep_shift=True)
    assert found.notes == ()
    assert found.settings["binning"] == 4
    assert found.settings["tomogram_shift_z_px"] == -40
    without = read_imod(tmp_path / "a.xf", SHAPE, PIXEL)
    assert "OffsetsInXandY 6 -9" in without.notes[0]
    voxel = np.array([11.0, -7.0, 16.0])  # from the volume's middle, z as IMOD's slices run
    xx, yy, zz = voxel[0] - 3.0 - 5.0, voxel[1], voxel[2] + 40.0
    for view, pose in zip(found.views, poses, strict=True):
        tilt, alpha = np.deg2rad(pose.tilt_deg + 4), np.deg2rad(pose.x_tilt_deg + 1)
        xp = xx * np.cos(tilt) + yy * np.sin(alpha) * np.sin(tilt) - zz * np.cos(alpha) * np.sin(tilt) + 5.0
        yp = yy * np.cos(alpha) + zz * np.sin(alpha)
        turned = pose.magnification * (Pose(pose.axis_deg, 0.0).matrix[:2, :2] @ [xp + 6, yp - 9]) * PIXEL
        expected = turned + pose.shift_xy_angstrom
        ours = PIXEL * voxel * [1, 1, -1]
        seen = view.pose.magnification * (view.pose.matrix @ ours)[:2] + view.pose.shift_xy_angstrom
        np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_what_poses_do_not_know_is_a_displacement_or_said(data):
    """BBa was solved with skew and z-factors and has local alignments, which tilta.com names."""
    folder = data / "imod" / "BB"
    found = read_imod(folder / "BBa.xf", (512, 512), 20.2)
    assert len(found.views) == 61
    assert all(view.pose.warp is not None for view in found.views)
    assert any("z-factors" in note for note in found.notes)
    assert found.settings["local_file"] == "BBalocal.xf"
    assert found.views[0].used is False
    simple = read_imod(folder / "BBa_simple-align.xf", (512, 512), 20.2)
    assert simple.notes == ()
    assert all(view.pose.warp is None for view in simple.views)


def test_counts_must_agree(rng, tmp_path):
    write_folder(tmp_path, rng)
    write_angles(tmp_path / "a.tlt", ANGLES[:-1])
    with pytest.raises(DataUnfitError, match="4 angles"):
        read_imod(tmp_path / "a.xf", SHAPE, PIXEL)
    (tmp_path / "a.tlt").unlink()
    assert read_imod(tmp_path / "a.xf", SHAPE, PIXEL).views[0].pose.tilt_deg == -40.0
    (tmp_path / "a.rawtlt").unlink()
    with pytest.raises(DataUnfitError, match="no tilt angles"):
        read_imod(tmp_path / "a.xf", SHAPE, PIXEL)
