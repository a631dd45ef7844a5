"""tilt.com: entries, lists, and IMOD's own projection formula against our poses."""

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.imod.commands import (
    NewstackCommand,
    parse_list,
    read_command,
    read_newstack_command,
    read_tilt_command,
)
from cryoloom.model import Pose


def test_reads_imods_own_tilt_com(data):
    command = read_tilt_command(data / "imod" / "BB" / "tilta.com")
    assert command.x_axis_tilt_deg == 1.94
    assert command.tilt_offset_deg == 0.0
    assert command.shift_xz_px == (0.0, 0.0)
    assert command.thickness_px == 84
    assert command.full_image_xy == (512, 512)
    assert command.excluded_views == {0}
    assert command.has_z_factors
    assert command.local_file == "BBalocal.xf"
    assert read_command(data / "imod" / "BB" / "xcorra.com")["rotationangle"] == ["-12.5"]


def test_lists_and_repeated_entries(tmp_path):
    assert parse_list("1,4-7, 12") == [1, 4, 5, 6, 7, 12]
    (tmp_path / "tilt.com").write_text(
        "$tilt -StandardInput\nOFFSET 1.5 -3\nSHIFT 2,-28.9\nEXCLUDELIST 1-2\nEXCLUDELIST2 40\n$other "
        "-x\nOFFSET 9\n"
    )
    command = read_tilt_command(tmp_path / "tilt.com")
    assert (command.tilt_offset_deg, command.axis_offset_px) == (1.5, -3.0)
    assert command.shift_xz_px == (2.0, -28.9)
    assert command.excluded_views == {0, 1, 39}


def test_refuses_what_is_no_command_file(tmp_path):
    (tmp_path / "tilt.com").write_text("hello\n")
    with pytest.raises(DataUnfitError, match=r"tilt\.com"):
        read_command(tmp_path / "tilt.com")
    (tmp_path / "tilt.com").write_text("$tilt -StandardInput\nEXCLUDELIST a-b\n")
    with pytest.raises(DataUnfitError, match="cannot be read"):
        read_tilt_command(tmp_path / "tilt.com")


@pytest.mark.parametrize(("tilt", "alpha"), [(37.0, 2.5), (-50.0, -4.0), (0.0, 1.94)])
def test_imods_projection_is_our_pose_with_z_upside_down(rng, tilt, alpha):
    """tilt.f90, "former code for assessing backprojection positions", with its sines already negated."""
    sin_beta, cos_beta = -np.sin(np.deg2rad(tilt)), np.cos(np.deg2rad(tilt))
    sin_alpha, cos_alpha = -np.sin(np.deg2rad(alpha)), np.cos(np.deg2rad(alpha))
    xx, yy, zz = rng.normal(size=3)
    xp = xx * cos_beta + yy * sin_alpha * sin_beta + zz * (cos_alpha * sin_beta)
    yp = yy * cos_alpha - zz * sin_alpha
    ours = Pose(0.0, tilt, alpha).matrix @ [xx, yy, -zz]
    np.testing.assert_allclose(ours[:2], [xp, yp], atol=1e-12)


def test_newst_com(tmp_path):
    (tmp_path / "newst.com").write_text(
        "$setenv IMOD_OUTPUT_FORMAT MRC\n$newstack -StandardInput\nAntialiasFilter\t-1\nInputFile TS.st\n"
        "TransformFile\tTS.xf\nSizeToOutputInXandY\t512,720\nOffsetsInXandY\t0.0,-12.5\nBinByFactor\t8\n"
    )
    command = read_newstack_command(tmp_path / "newst.com")
    assert command == NewstackCommand(8, (0.0, -12.5), (512, 720), "TS.xf", is_antialiased=True)
    (tmp_path / "newst.com").write_text("$newstack -StandardInput\nInputFile TS.st\n")
    assert read_newstack_command(tmp_path / "newst.com") == NewstackCommand()
    (tmp_path / "newst.com").write_text("$newstack -StandardInput\nOffsetsInXandY 1,2,3,4\n")
    with pytest.raises(DataUnfitError, match="each of 2 sections"):
        read_newstack_command(tmp_path / "newst.com")
