from datetime import datetime

import pytest

from cryoloom.formats.session.mdoc import read_mdoc
from cryoloom.formats.session.mdoc_writer import MdocTilt, write_serialem_mdoc, write_tomo5_mdoc

TILT = MdocTilt(
    tilt_deg=-3.0, file_name="TS_01_002_-3.0.tif", n_frames=8, dose_per_angstrom2=3.0,
    prior_dose_per_angstrom2=6.0,
    target_defocus_angstrom=35000.0, measured_defocus_angstrom=34567.0, minimum=0, maximum=200, mean=40.5,
    acquired_at=datetime(2026, 3, 14, 9, 28, 1),
)  # fmt: skip
COMMON = {
    "pixel_size_angstrom": 2.7, "voltage_kv": 300.0, "image_shape_yx": (512, 720), "tilt_axis_deg": 86.8,
}  # fmt: skip


def test_serialem(tmp_path):
    write_serialem_mdoc(tmp_path / "TS_01.mrc.mdoc", [TILT], **COMMON)
    lines = (tmp_path / "TS_01.mrc.mdoc").read_text().splitlines()
    for expected in (
        "PixelSpacing = 2.7", "ImageFile = TS_01.mrc", "ImageSize = 720 512", "[ZValue = 0]",
        "TiltAngle = -3",
        "[T =     Tilt axis angle = 86.8, binning = 1  spot = 8  camera = 1]", "RotationAngle = 176.8",
        "TargetDefocus = -3.5", r"SubFramePath = X:\cryoloom\frames\TS_01_002_-3.0.tif", "NumSubFrames = 8",
        "DateTime = 14-Mar-26  09:28:01", "ExposureDose = 3", "FrameDosesAndNumber = 0.375 8",
    ):  # fmt: skip
        assert expected in lines


def test_tomo5(tmp_path):
    write_tomo5_mdoc(tmp_path / "TS_01.mdoc", [TILT], **COMMON)
    lines = (tmp_path / "TS_01.mdoc").read_text().splitlines()
    for expected in (
        "[T = TiltAxisAngle = -176.80 Binning = 1 SpotSize = 5]", "RotationAngle = 86.80",
        "NumSubFrames = 1", "TiltAngle = -3.00",
        r"SubFramePath = \\192.168.0.1\StorageServer\TS_01_002_-3.0.tif", "DateTime = 14-Mar-2026 09:28:01",
    ):  # fmt: skip
        assert expected in lines


@pytest.mark.parametrize(("axis", "rotation"), [(85.3, "175.3"), (95.0, "-175"), (-86.0, "4")])
def test_rotation_angle_stays_within_half_a_turn(axis, rotation, tmp_path):
    write_serialem_mdoc(tmp_path / "a.mdoc", [TILT], **{**COMMON, "tilt_axis_deg": axis})
    assert f"RotationAngle = {rotation}" in (tmp_path / "a.mdoc").read_text().splitlines()


@pytest.mark.parametrize("rotation_sign", [1, -1])
@pytest.mark.parametrize("axis", [85.3, -95.0, 2.0, -178.5, 0.0])
def test_tomo5_axis_is_read_back_whatever_the_sign(axis, rotation_sign, tmp_path):
    path = tmp_path / "TS_01.mdoc"
    write_tomo5_mdoc(path, [TILT], **{**COMMON, "tilt_axis_deg": axis}, rotation_sign=rotation_sign)
    mdoc = read_mdoc(path)
    assert mdoc.axis.axis_deg == pytest.approx(axis, abs=0.01)
    assert not mdoc.axis.is_directed
    assert all(name != "RotationAngle as it stands" for name, _ in mdoc.axis.others)
