"""Series found in a folder by their mdocs and by the names of their movies."""

from __future__ import annotations

import pytest

from cryoloom.formats.session.session_folder import read_exposures, series_of_mdocs, series_of_names


def mdoc(folder, name, movies, title=""):
    """An mdoc of movies given as (name, angle)."""
    lines = ["PixelSpacing = 1.35", "Voltage = 300", "ImageFile = x.mrc", title, ""]
    for z, (movie, angle) in enumerate(movies):
        lines += [f"[ZValue = {z}]", f"TiltAngle = {angle}", f"SubFramePath = X:\\frames\\{movie}", ""]
    path = folder / name
    path.write_text("\n".join(lines))
    return path


def tilts(series, angles=(0.0, 3.0, -3.0)):
    return [(f"{series}_{i:03d}_{angle:.1f}.tif", angle) for i, angle in enumerate(angles)]


def test_a_series_has_the_name_of_its_mdoc_and_its_exposures(tmp_path):
    paths = [
        mdoc(tmp_path, "TS_02.mrc.mdoc", tilts("TS_02")),
        mdoc(tmp_path, "TS 01.st.mdoc", tilts("TS_01")),
    ]
    found, notes = series_of_mdocs(paths)
    assert [one.name for one in found] == ["TS_01", "TS_02"]
    assert [e.tilt_deg for e in found[1].exposures] == [0.0, 3.0, -3.0]
    assert found[1].mdoc.pixel_size_angstrom == 1.35
    assert notes == []


def test_mdocs_of_single_movies_are_gathered_by_their_names(tmp_path):
    paths = [mdoc(tmp_path, f"{name}.mdoc", [(name, angle)]) for name, angle in tilts("TS_07")]
    found, notes = series_of_mdocs(paths)
    assert [one.name for one in found] == ["TS_07"]
    assert len(found[0].mdocs) == 3
    assert sorted(e.tilt_deg for e in found[0].exposures) == [-3.0, 0.0, 3.0]
    assert notes == []


def test_what_is_described_again_is_left_out_with_a_note(tmp_path):
    paths = [
        mdoc(tmp_path, "TS_01.mdoc", tilts("TS_01")),
        mdoc(tmp_path, "TS_01_override.mdoc", tilts("TS_01")),
        mdoc(tmp_path, "copy.mdoc", tilts("TS_01")),
        tmp_path / "map.mdoc",
    ]
    paths[-1].write_text("PixelSpacing = 20\n\n[ZValue = 0]\nTiltAngle = 0.0\n")
    found, notes = series_of_mdocs(paths)
    assert [one.name for one in found] == ["TS_01"]
    listed = " / ".join(notes)
    assert "TS_01_override.mdoc repeats another mdoc; left out" in listed
    assert "TS_01.mdoc names the same movies as the mdoc of copy; left out" in listed or (
        "copy.mdoc names the same movies as the mdoc of TS_01; left out" in listed
    )
    assert "map.mdoc names no movies" in listed


def test_an_mdoc_of_two_series_is_unfit(tmp_path):
    both = tilts("TS_01") + tilts("TS_02")
    (found,), _ = series_of_mdocs([mdoc(tmp_path, "mixed.mdoc", both)])
    assert "names movies of two series at the same angles: 3 of TS_01 and 3 of TS_02" in str(found.error)


def test_an_unreadable_mdoc_fails_its_own_series_only(tmp_path):
    broken = tmp_path / "TS_03.mdoc"
    broken.write_bytes(b"\x00\x01\x02" * 50)
    found, _ = series_of_mdocs([broken, mdoc(tmp_path, "TS_01.mdoc", tilts("TS_01"))])
    by_name = {one.name: one for one in found}
    assert by_name["TS_01"].error is None
    assert "TS_03" not in by_name or by_name["TS_03"].error is not None


def test_movies_alone_are_grouped_by_a_pattern(tmp_path):
    names = [name for series in ("TS_01", "TS_02") for name, _ in tilts(series)]
    for name in names:
        (tmp_path / name).touch()
    found = series_of_names(tmp_path, "{TS}_{TO}_{TA}.tif")
    assert [one.name for one in found] == ["TS_01", "TS_02"]
    assert sorted(e.tilt_deg for e in found[0].exposures) == [-3.0, 0.0, 3.0]
    assert found[0].mdoc is None


def test_exposures_are_read_with_their_mdoc(tmp_path):
    read, exposures = read_exposures(mdoc(tmp_path, "TS_01.mdoc", tilts("TS_01")))
    assert read.voltage_kv == pytest.approx(300)
    assert [e.movie_name for e in exposures] == [name for name, _ in tilts("TS_01")]
