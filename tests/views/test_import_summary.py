"""What was imported, with series of one kind on one line."""

from __future__ import annotations

from dataclasses import replace

from cryoloom.model import Sourced
from cryoloom.views.import_summary import import_line, import_lines
from makers.made_series import make_series


def test_a_line_has_tilts_pixel_axis_and_dose():
    series = replace(make_series(n_tilts=5), tilt_axis_deg=Sourced.from_told(85.3, "mdoc"), gain=None)
    line = import_line(series)
    low, high = min(series.tilt_deg), max(series.tilt_deg)
    assert line.startswith(f"5 tilts, {low:g} to {high:g} deg, 2 A, axis 85.30 deg (mdoc), ")
    assert line.endswith("no gain reference")


def test_what_is_not_known_is_said():
    series = make_series()
    unknown = replace(
        series,
        tilt_axis_deg=Sourced(),
        tilts=tuple(
            replace(tilt, dose_start_per_angstrom2=0.0, dose_end_per_angstrom2=0.0) for tilt in series.tilts
        ),
    )
    assert "axis not known, dose not known" in import_line(unknown)


def test_series_with_the_same_metadata_share_a_line_and_many_are_counted():
    alike = [make_series(f"TS_{i:02d}") for i in range(1, 4)]
    other = make_series("TS_09", n_tilts=7)
    lines = import_lines([*alike, other])
    assert [line.split(":")[0] for line in lines] == ["TS_01, TS_02, TS_03", "TS_09"]
    many = import_lines(make_series(f"TS_{i:02d}") for i in range(1, 9))
    assert many[0].startswith("8 series (TS_01 to TS_08): ")
