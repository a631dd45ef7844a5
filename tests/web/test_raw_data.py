"""What a folder of raw data tells of itself."""

from __future__ import annotations

from pathlib import Path

from cryoloom.web.raw_data import look_at
from makers.mdocs_alone import ANGLES, raw, write_mdoc

__all__ = ["raw"]


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
