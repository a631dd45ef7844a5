"""mdoc: SerialEM's and Tomo5's files give the numbers a reader finds in them by eye."""

from __future__ import annotations

from datetime import datetime

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.mdoc import parse_date, read_mdoc


def mdoc_of(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "series.mdoc"
    path.write_bytes(text.encode(encoding))
    return read_mdoc(path)


def test_serialem_series(data):
    mdoc = read_mdoc(data / "mdoc" / "serialem_empiar-10164_TS_01.mrc.mdoc")
    assert len(mdoc.sections) == 41
    assert (mdoc.pixel_size_angstrom, mdoc.image_shape_yx, mdoc.voltage_kv) == (5.4, (958, 924), None)
    assert mdoc.tilt_axis_deg == (85.3, "title")
    second = mdoc.sections[1]
    assert second.tilt_deg == pytest.approx(3.00113)
    assert second.movie_name == "TS_01_001_3.0.mrc"
    assert second.acquired_at == datetime(2015, 11, 30, 15, 22, 37)
    assert second.target_defocus_angstrom == 40000
    assert second.dose_per_angstrom2() is None  # ExposureDose 0 and counts without CountsPerElectron
    assert not mdoc.is_montage


def test_serialem_sorted_by_angle_with_prior_dose(data):
    mdoc = read_mdoc(data / "mdoc" / "serialem_prior-dose_017.mdoc")
    assert (len(mdoc.sections), mdoc.voltage_kv) == (60, 300)
    first = mdoc.sections[0]
    assert first.dose_per_angstrom2() == (2.23843, "ExposureDose")
    assert first.prior_dose_per_angstrom2 == 134.379
    by_time = sorted(mdoc.sections, key=lambda section: section.acquired_at)
    prior = [section.prior_dose_per_angstrom2 for section in by_time]
    assert prior == sorted(prior)
    assert mdoc.header["Version"] == "SerialEM Version 4.0.20 64-bit,  built Feb 17 2023  20:15:15"


def test_the_axis_of_the_title_is_the_rotation_angle_less_90(data):
    """Oracle for the convention: SerialEM's files tell both."""
    for name in (
        "serialem_empiar-10164_TS_01.mrc.mdoc",
        "serialem_prior-dose_017.mdoc",
        "montage_section.mdoc",
    ):
        mdoc = read_mdoc(data / "mdoc" / name)
        rotation = mdoc.sections[0].number_of("RotationAngle")
        assert mdoc.tilt_axis_deg[0] == pytest.approx(rotation - 90, abs=0.1)


def test_tomo5(data):
    mdoc = read_mdoc(data / "mdoc" / "tomo5_Position_10.mdoc")
    assert mdoc.tilt_axis_deg == (81.35, "Tomo5 TiltAxisAngle")
    section = mdoc.sections[0]
    assert section.movie_name == "Position_10_001_-20.00_20230324_121311_EER.eer"
    assert section.acquired_at == datetime(2023, 3, 24, 12, 13, 13)
    assert section.dose_per_angstrom2() == (2.31, "ExposureDose")
    assert section.target_defocus_angstrom == pytest.approx(48900)
    assert section.values["ChannelName"] == ""
    assert section.number_of("CameraLength") is None  # NaN
    assert len(mdoc.sections) == 3


def test_one_movie(data):
    mdoc = read_mdoc(data / "mdoc" / "frame_set_single.mdoc")
    (section,) = mdoc.sections
    assert section.kind == "FrameSet"
    assert section.movie_name == "s_mmm_00993_33.0_Oct08_07.39.05.tif"
    assert mdoc.tilt_axis_deg == (pytest.approx(88.414), "RotationAngle")
    assert (mdoc.voltage_kv, mdoc.pixel_size_angstrom) == (300, 1.2827)


def test_montage(data):
    mdoc = read_mdoc(data / "mdoc" / "montage_section.mdoc")
    assert mdoc.is_montage
    assert len(mdoc.sections) == 62


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"ExposureDose": "3"}, (3.0, "ExposureDose")),
        ({"ExposureDose": "0"}, (2.5, "FrameDosesAndNumber")),
        ({"ExposureDose": "0", "FrameDosesAndNumber": "0 0"}, (4.0, "DoseRate")),
        ({"ExposureDose": "0", "FrameDosesAndNumber": "", "DoseRate": "0"}, (10.0, "MinMaxMean")),
        (
            {"ExposureDose": "0", "FrameDosesAndNumber": "", "DoseRate": "x", "DividedBy2": "0"},
            (5.0, "MinMaxMean"),
        ),
        ({"ExposureDose": "nan", "FrameDosesAndNumber": "", "DoseRate": "0", "MinMaxMean": "0 9 -4"}, None),
    ],
)
def test_dose_precedence(tmp_path, keys, expected):
    usual = {
        "FrameDosesAndNumber": "0.25 4 0.5 3",
        "DoseRate": "8",
        "ExposureTime": "2",
        "PixelSpacing": "2",
        "MinMaxMean": "0 900 400",
        "CountsPerElectron": "20",
        "DividedBy2": "1",
    }
    lines = "\n".join(f"{key} = {value}" for key, value in (usual | keys).items())
    assert mdoc_of(tmp_path, f"[ZValue = 0]\n{lines}").sections[0].dose_per_angstrom2() == expected


def test_dose_rate_is_per_unbinned_pixel(tmp_path):
    text = "[ZValue = 0]\nDoseRate = 8\nExposureTime = 2\nPixelSpacing = 4\nBinning = 2"
    assert mdoc_of(tmp_path, text).sections[0].dose_per_angstrom2() == (4.0, "DoseRate")


def test_tolerates_what_is_seen(tmp_path):
    text = (
        "PixelSpacing=2\r\nNote = a = b = c\r\n[T = Tilt axis angle = -86, binning = 1]\r\n\r\n"
        "[ZValue = 7]\r\nSubFramePath = \\\\server\\Bj\xf6rn\\TS_1.tif\r\nUnknown\r\nTiltAngle = 3"
    )
    mdoc = mdoc_of(tmp_path, text, "latin-1")
    assert mdoc.header["Note"] == "a = b = c"
    assert mdoc.sections[0].number == 7
    assert (mdoc.sections[0].movie_name, mdoc.sections[0].tilt_deg) == ("TS_1.tif", 3.0)
    assert mdoc.tilt_axis_deg == (-86.0, "title")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30-Nov-15  15:21:38", datetime(2015, 11, 30, 15, 21, 38)),
        ("24-Mar-2023 12:13:13", datetime(2023, 3, 24, 12, 13, 13)),
        ("2023-03-24 12:13:13.5", datetime(2023, 3, 24, 12, 13, 13, 500000)),
        ("2023-Mar-24T12:13:13", datetime(2023, 3, 24, 12, 13, 13)),
        ("31-Feb-23 12:00:00", None),
        ("yesterday", None),
        ("", None),
        ("28-Dez-2026  10:01:02", datetime(2026, 12, 28, 10, 1, 2)),
        ("3 mars 2026 10:01:02", datetime(2026, 3, 3, 10, 1, 2)),
        ("14-juil.-26 10:01:02", datetime(2026, 7, 14, 10, 1, 2)),
        ("11/28/2026 11:59:58 AM", datetime(2026, 11, 28, 11, 59, 58)),
        ("11/28/2026 12:00:08 pm", datetime(2026, 11, 28, 12, 0, 8)),
        ("11/28/2026 1:00:08 P.M.", datetime(2026, 11, 28, 13, 0, 8)),
        ("28-Nov-2026 12:00:08 AM", datetime(2026, 11, 28, 0, 0, 8)),
    ],
)
def test_dates(text, expected):
    assert parse_date(text) == expected


def test_refuses_what_describes_no_image(tmp_path):
    with pytest.raises(DataUnfitError, match="describes no image"):
        mdoc_of(tmp_path, "PixelSpacing = 2\n")
    with pytest.raises(DataUnfitError, match="does not exist"):
        read_mdoc(tmp_path / "none.mdoc")
