"""RELION 5: exported files are found again as they were, and RELION's own project is understood."""

import os
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.formats.relion.relion5 import read_relion5_tilt_series, verify_relion5, write_relion5
from cryoloom.formats.relion.star_tables import read_blocks
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries, Tomogram

ANGLES = [-40.0, -20.0, 0.0, 20.0, 40.0]
ORDER = [3, 1, 0, 2, 4]


def make_series(rng, name="TS_01", excluded=()):
    tilts = tuple(
        Tilt(
            acquisition_index=ORDER[i],
            nominal_tilt_deg=angle,
            dose_start_per_angstrom2=3.0 * ORDER[i],
            dose_end_per_angstrom2=3.0 * ORDER[i] + 3.0,
            section=i,
            nominal_defocus_angstrom=40000.0,
            frame_shifts_yx_angstrom=((0.0, 0.0), (3.0, 4.0)),
            exclusion=Exclusion.by_user("dark") if i in excluded else None,
            ctf=Ctf(40000.0 + i, 39000.0, 30.0 + i, fit_resolution_angstrom=8.0, score=0.1),
            pose=Pose(85.0, angle + 0.5, 0.0, (10.0 * i, -5.0 * i)),
        )
        for i, angle in enumerate(ANGLES)
    )
    images = rng.normal(size=(5, 40, 60)).astype(np.float32)
    return TiltSeries(
        name,
        Microscope(),
        1.35,
        tilts,
        Sourced.from_told(85.3, "mdoc"),
        handedness=Sourced.from_told(1.0, "user"),
        stack=Stack(images, 2.7, even=images + 1, odd=images - 1),
    )


def make_tomogram(series, rng):
    volume = rng.normal(size=(8, 10, 16)).astype(np.float32)
    return Tomogram(series, volume, 10.8, even=volume, odd=volume)


def test_a_series_survives_the_round_trip(rng, tmp_path):
    series = make_series(rng, excluded=(3,))
    write_relion5([(series, make_tomogram(series, rng))], tmp_path)
    again = read_relion5_tilt_series(tmp_path / "tomograms.star")
    assert len(again.tilts) == 4
    assert again.handedness.applied == 1.0
    assert again.tilt_axis_deg.told == pytest.approx(85.3)
    assert again.microscope == series.microscope
    for tilt, was in zip(again.tilts, series.included, strict=True):
        assert tilt.pose == was.pose
        assert tilt.ctf == was.ctf
        assert tilt.nominal_tilt_deg == was.nominal_tilt_deg
        assert tilt.dose_start_per_angstrom2 == was.dose_start_per_angstrom2
        assert tilt.dose_end_per_angstrom2 == was.dose_end_per_angstrom2
        assert tilt.nominal_defocus_angstrom == pytest.approx(was.nominal_defocus_angstrom)
        np.testing.assert_array_equal(again.stack.images[tilt.section], series.stack.images[was.section])


def test_tables_hold_relative_paths_and_even_sizes(rng, tmp_path):
    series = make_series(rng)
    paths = write_relion5([(series, make_tomogram(series, rng))], tmp_path / "to")
    text = (tmp_path / "to" / "tomograms.star").read_text()
    assert str(tmp_path) not in text
    assert all(path.is_file() for path in paths)
    row = text.split("_rlnTomoReconstructedTomogramHalf2 #16\n")[1].split()
    assert [float(v) for v in row[5:6]] == [-1.0]  # our +1 is RELION's -1
    assert row[9:13] == ["4.000000", "64", "40", "32"]
    assert verify_relion5(tmp_path / "to") == 6


def test_a_series_without_a_tomogram_has_an_even_size_too(rng, tmp_path):
    """RELION 5.0.1 reads no size as -999, and projects half a pixel off where a size is odd."""
    series = make_series(rng)
    odd = Stack(np.zeros((len(series.tilts), 33, 41), np.float32), series.pixel_size_angstrom)
    write_relion5([(replace(series, stack=odd), None)], tmp_path)
    (row,) = read_blocks(tmp_path / "tilt_series.star")["global"]
    assert [row[f"rlnTomoSize{axis}"] for axis in "XYZ"] == [42, 34, 34]


def test_links_share_the_file_and_copies_do_not(rng, tmp_path):
    series = make_series(rng)
    write_mrc(tmp_path / "stack.mrc", series.stack.images, 2.7)
    series = replace(series, stack=Stack(MrcPixels(tmp_path / "stack.mrc"), 2.7))
    for folder, link, expected in (("linked", True, 2), ("copied", False, 2), ("linked", True, 2)):
        write_relion5([(series, None)], tmp_path / folder, link=link)
        assert os.stat(tmp_path / "stack.mrc").st_nlink == expected
    assert not (tmp_path / "linked" / "tomograms.star").exists()
    assert sorted(p.name for p in (tmp_path / "linked" / "tilt_series").iterdir()) == [
        "TS_01.mrcs",
        "TS_01.star",
    ]


def test_missing_and_wrong_files_are_found(rng, tmp_path):
    series = make_series(rng)
    write_relion5([(series, make_tomogram(series, rng))], tmp_path)
    write_mrc(tmp_path / "tomograms" / "TS_01.mrc", np.zeros((8, 10, 20), np.float32), 10.8, kind="volume")
    with pytest.raises(DataUnfitError, match="shape"):
        verify_relion5(tmp_path)
    write_mrc(tmp_path / "tomograms" / "TS_01.mrc", np.zeros((8, 10, 16), np.float32), 5.4, kind="volume")
    with pytest.raises(DataUnfitError, match="pixel size"):
        verify_relion5(tmp_path)
    (tmp_path / "tomograms" / "TS_01.mrc").unlink()
    with pytest.raises(DataUnfitError, match="TS_01"):
        verify_relion5(tmp_path)


def test_refuses_what_a_relion_table_cannot_hold(rng, tmp_path):
    series = make_series(rng)
    with pytest.raises(UserInputError, match="nothing"):
        write_relion5([], tmp_path)
    unaligned = series.with_tilts({0: {"pose": None}})
    with pytest.raises(DataUnfitError, match="align_series"):
        write_relion5([(unaligned, None)], tmp_path)
    scaled = series.with_tilts({0: {"pose": Pose(85.0, 0.0, magnification=1.05)}})
    with pytest.raises(DataUnfitError, match="magnification"):
        write_relion5([(scaled, None)], tmp_path)


def test_a_series_that_is_not_aligned_holds_up_no_other(rng, tmp_path):
    unaligned = make_series(rng, "TS_02").with_tilts({i: {"pose": None} for i in range(5)})
    write_relion5([(unaligned, None), (make_series(rng), None)], tmp_path)
    assert "TS_02" not in (tmp_path / "tilt_series.star").read_text()
    assert "TS_02 was left out" in (tmp_path / "NOTES.txt").read_text()
    write_relion5([(make_series(rng), None)], tmp_path)
    assert not (tmp_path / "NOTES.txt").exists()


def test_without_ctf_or_handedness(rng, tmp_path):
    series = make_series(rng)
    bare = replace(
        series.with_tilts({i: {"ctf": None} for i in range(5)}),
        handedness=Sourced(),
        stack=Stack(series.stack.images, 2.7),
    )
    write_relion5([(bare, None)], tmp_path)
    assert "Defocus" not in (tmp_path / "tilt_series" / "TS_01.star").read_text().replace(
        "NominalDefocus", ""
    )
    assert "handedness" in (tmp_path / "NOTES.txt").read_text()
    assert read_relion5_tilt_series(tmp_path / "tilt_series.star").tilts[0].ctf is None


def test_reads_relions_own_project(data):
    """EMPIAR-10164 TS_01 after RELION 5's AlignTiltSeries with IMOD, and its columns are ours."""
    folder = data / "relion5" / "empiar-10164"
    series = read_relion5_tilt_series(folder / "AlignTiltSeries/job005/aligned_tilt_series.star", "TS_01")
    assert len(series.tilts) == 40
    assert series.pixel_size_angstrom == pytest.approx(0.675)
    assert series.handedness.applied == 1.0
    tilt = series.tilts[0]
    assert (tilt.nominal_tilt_deg, tilt.acquisition_index) == (-56.9985, 38)
    assert tilt.pose == Pose(85.032958, -57.0, 0.0, (34.845611, 108.499417))
    assert tilt.ctf is not None
    assert tilt.ctf.defocus_u_angstrom == pytest.approx(39527.78125)
    assert tilt.dose_end_per_angstrom2 - tilt.dose_start_per_angstrom2 == pytest.approx(3.0)
    with pytest.raises(UserInputError, match="TS_54"):
        read_relion5_tilt_series(folder / "AlignTiltSeries/job005/aligned_tilt_series.star")


def test_the_larger_defocus_comes_first(data):
    """CtfRefine writes U smaller than V; the angle turns by 90 degrees with the exchange."""
    star = data / "relion5" / "empiar-10164" / "CtfRefine" / "job027" / "tomograms.star"
    ctf = read_relion5_tilt_series(star, "TS_01").tilts[0].ctf
    assert ctf.defocus_u_angstrom == pytest.approx(39616.004993)
    assert ctf.astigmatism_angle_deg == pytest.approx(107.005741 + 90.0)
