"""Which field of an mdoc tells the tilt axis, and what it means in files of each program and version."""

from __future__ import annotations

import pytest

from cryoloom.formats.session.tilt_axis import axis_evidence, read_tilt_axis

TOMO5 = {"is_serialem": False, "is_tomo5": True}
SERIALEM = {"is_serialem": True, "is_tomo5": False}


@pytest.mark.parametrize(
    ("title", "rotation", "program", "axis", "by"),
    [
        ("Tilt axis angle = 85.3, binning = 4  spot = 8", 175.3, SERIALEM, 85.3, "title"),
        ("Tilt axis angle = 85,3, binning = 4", 175.3, SERIALEM, 85.3, "title"),
        ("Tilt axis angle = 85, binning = 4", 175.0, SERIALEM, 85.0, "title"),
        (None, 178.414, SERIALEM, 88.414, "RotationAngle"),
        # Files of two facilities, and of a third whose axis IMOD refined to 84.5 from TiltAxisAngle -174.09.
        ("TiltAxisAngle = -171.35 Binning = 1", 81.35, TOMO5, 81.35, "Tomo5 TiltAxisAngle"),
        ("  TiltAxisAngle = -174.23  Binning = 1", -84.23, TOMO5, 84.23, "Tomo5 TiltAxisAngle"),
        ("TiltAxisAngle = -174.09 Binning = 1", 84.1, TOMO5, 84.09, "Tomo5 TiltAxisAngle"),
        ("TiltAxisAngle = -176.20  Binning = 1", 86.2, TOMO5, 86.2, "Tomo5 TiltAxisAngle"),
        (None, -84.23, TOMO5, -84.23, "Tomo5 RotationAngle"),
    ],
)
def test_the_axis(title, rotation, program, axis, by):
    reading = read_tilt_axis(
        [] if title is None else [title], [] if rotation is None else [rotation], **program
    )
    assert reading.axis_deg == pytest.approx(axis, abs=0.011)
    assert reading.by == by
    assert reading.is_directed is program["is_serialem"]


def test_fields_that_do_not_fit_each_other_are_noted():
    serialem = read_tilt_axis(["Tilt axis angle = 85.3"], [120.0], **SERIALEM)
    assert "RotationAngle 120 deg means 30; the title is used" in serialem.note
    tomo5 = read_tilt_axis(["TiltAxisAngle = -171.35"], [12.0], **TOMO5)
    assert "do not fit each other" in tomo5.note
    assert ("RotationAngle as it stands", 12.0) in tomo5.others


def test_rotation_angle_alone_has_no_sign_in_tomo5():
    reading = read_tilt_axis(["Tomography: TITAN"], [81.35] * 3, **TOMO5)
    assert reading.others == (("RotationAngle with its sign changed", -81.35),)
    assert "either sign" in reading.note


def test_other_programs_rotation_angle_says_nothing():
    assert read_tilt_axis([], [81.35], is_serialem=False, is_tomo5=False) is None
    assert read_tilt_axis([], [], **TOMO5) is None
    assert read_tilt_axis(["Tilt axis angle = 1234"], [], **SERIALEM) is None


def test_the_evidence_names_every_reading():
    reading = read_tilt_axis(["TiltAxisAngle = -171.35"], [81.35], **TOMO5)
    evidence = axis_evidence(reading, None)
    assert (evidence.value, evidence.used) == (81.35, "mdoc Tomo5 TiltAxisAngle")
    assert {source.says for source in evidence.sources} == {81.35, -171.35, -81.35}
    assert "half a turn" in evidence.note.lower()
    assert axis_evidence(reading, -95.0).value == -95.0
    assert axis_evidence(None, None).note.startswith("no tilt axis is given")
