"""CTFFIND's and AreTomo's tables: their own files, the other versions' columns, round trips."""

from __future__ import annotations

import math

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.ctffind import (
    read_aretomo_ctf,
    read_ctffind,
    read_ctffind_folder,
    write_aretomo_ctf,
    write_ctffind,
)
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from makers.ctf_series import assert_same_ctfs, series_with_ctfs

ANGLES = (0.0, 3.0, -3.0, -6.0, 6.0)


def test_reads_ctffinds_own_file(data):
    found = read_ctffind(data / "ctffind" / "ctffind4_diagnostic_output.txt")
    (view,) = found.views
    assert view.section == 0
    assert view.ctf.defocus_u_angstrom == view.ctf.defocus_v_angstrom == 9982.50293
    assert view.ctf.phase_shift_deg == pytest.approx(math.degrees(0.035256))
    assert (view.ctf.score, view.ctf.fit_resolution_angstrom) == (0.565683, 1.980663)


def test_reads_aretomos_own_file(data):
    found = read_aretomo_ctf(data / "aretomo" / "test_CTF.txt")
    assert [view.tilt_rank for view in found.views] == [0, 1, 2]
    third = found.views[2].ctf
    assert (third.defocus_u_angstrom, third.defocus_v_angstrom) == (20648.45, 19469.25)
    assert (third.astigmatism_angle_deg, third.score, third.fit_resolution_angstrom) == (
        77.32,
        0.0276,
        11.0736,
    )


def test_reads_the_columns_of_ctffind_5_aretomo_3_and_motioncor_3(tmp_path):
    path = tmp_path / "a.txt"
    # CTFFIND 5's columns: tilt axis, tilt and thickness at the end.
    path.write_text("# CTFFind 5\n1.0 8984.7 8709.2 45.9 0.0 0.446 3.72 221.9 12.25 1619.8\n")
    found = read_ctffind(path)
    assert found.views[0].ctf.defocus_u_angstrom == 8984.7
    assert "1620 A" in found.notes[0]
    path.write_text("0 9000 8000 -120 1.5708 0.1 12.0 1\n1 9100 8100 10 1.5708 0.1 nan -1\n")
    counted_from_0 = read_aretomo_ctf(path)
    assert [view.tilt_rank for view in counted_from_0.views] == [0, 1]
    assert counted_from_0.views[0].ctf.astigmatism_angle_deg == 60.0
    assert counted_from_0.views[0].ctf.phase_shift_deg == pytest.approx(90.0, abs=1e-3)
    assert counted_from_0.views[1].ctf.fit_resolution_angstrom is None
    path.write_text("  11744.11   11479.96   -50.57     0.10    0.06715   17.2973\n")
    assert read_ctffind(path).views[0].ctf.defocus_v_angstrom == 11479.96


@pytest.mark.parametrize("excluded", [None, 3])
def test_ctffind_round_trip(tmp_path, excluded):
    series = series_with_ctfs(ANGLES, excluded=excluded, phase_shift_deg=40.0)
    write_ctffind(tmp_path / "TS_01.txt", series)
    assert_same_ctfs(ctfs_by_tilt(read_ctffind(tmp_path / "TS_01.txt"), series), series, to_angstrom=1e-4)


def test_aretomo_round_trip_whatever_the_order_of_the_stack(tmp_path):
    series = series_with_ctfs(ANGLES)
    write_aretomo_ctf(tmp_path / "TS_01_CTF.txt", series)
    found = read_aretomo_ctf(tmp_path / "TS_01_CTF.txt")
    # The lowest tilt, section 3, comes first.
    assert found.views[0].ctf.defocus_u_angstrom == series.tilts[0].ctf.defocus_u_angstrom
    assert_same_ctfs(ctfs_by_tilt(found, series), series, to_angstrom=0.006)


def test_a_folder_of_single_images_is_matched_by_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("1 9000 8000 10 0 0.1 12\n")
    (tmp_path / "a_avrot.txt").write_text("# 1D profile\n0 1 2\n")
    assert [view.image_name for view in read_ctffind_folder(tmp_path).views] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "expected 6 to 10 numbers a line"),
        ("# nothing\n", "holds no CTF"),
        ("1 9000 8000 10 0 0.1 12\n3 9000 8000 10 0 0.1 12\n", "expected each of 1 to 2 once"),
    ],
)
def test_other_texts_are_refused(tmp_path, text, message):
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(DataUnfitError, match=message):
        read_ctffind(path)


def test_a_fit_that_went_astray_costs_its_tilt_and_not_the_series(tmp_path):
    """CTFFIND 5.0.2 gave one tilt of seven a defocus of -130 um when it was asked for the thickness."""
    path = tmp_path / "spectra.txt"
    good = "{} 35000 34900 10 0 0.2 8 0 0 900\n"
    astray = "2 -1287160 -1290000 10 0 0.2 8 0 0 900\n"
    path.write_text(good.format(1) + astray + good.format(3))
    found = read_ctffind(path)
    assert [view.section for view in found.views] == [0, 2]
    assert found.n_images == 3
    assert any("1 of 3 fits went astray" in note for note in found.notes)
    path.write_text(good.format(1) + astray)
    with pytest.raises(DataUnfitError, match="1 of 2 fits are impossible: the defocus in line 2"):
        read_ctffind(path)
