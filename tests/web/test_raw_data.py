"""What a folder of raw data tells of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.web.raw_data import look_at

ANGLES = (0.0, 3.0, -3.0, 6.0, -6.0)


def write_mdoc(path: Path, pixel_size_angstrom: float) -> None:
    """SerialEM's, in order of angle, with the time of every exposure."""
    lines = [f"PixelSpacing = {pixel_size_angstrom}", "Voltage = 300", ""]
    for section, (order, angle) in enumerate(sorted(enumerate(ANGLES), key=lambda one: one[1])):
        lines += [
            f"[ZValue = {section}]",
            f"TiltAngle = {angle}",
            "RotationAngle = 85.3",
            "ExposureDose = 3",
            f"SubFramePath = X:\\frames\\{path.stem}_{order:03d}.mrc",
            f"DateTime = 01-Nov-26  10:{order:02d}:00",
            "",
        ]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("facility") / "raw"
    folder.mkdir()
    write_mdoc(folder / "TS_01.mdoc", 2.7)
    write_mdoc(folder / "TS_02.mdoc", 2.7)
    return folder


def test_raw_data_tell_what_holds_for_all_and_what_differs(raw: Path, tmp_path: Path) -> None:
    facts = look_at(raw)
    expected = {"pixel size, Å": [2.7], "voltage, kV": [300.0], "tilts": [5.0]}
    assert {name: facts["facts"][name] for name in expected} == expected
    assert facts["doubts"] == []
    assert [one["name"] for one in facts["series"]] == ["TS_01", "TS_02"]
    assert facts["series"][0]["tilt_deg"] == list(ANGLES)  # in the order of acquisition
    assert facts["series"][0]["dose_per_angstrom2"] == [3.0, 6.0, 9.0, 12.0, 15.0]
    write_mdoc(tmp_path / "a.mdoc", 2.7)
    write_mdoc(tmp_path / "b.mdoc", 1.35)
    assert "pixel size, Å: the series differ (1.35, 2.7)" in look_at(tmp_path)["doubts"]
    assert look_at(tmp_path, lambda _: False)["series"] == []
