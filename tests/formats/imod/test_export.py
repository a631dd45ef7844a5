"""IMOD export: files, counts and command files that agree with each other."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.imod.defocus import read_imod_defocus
from cryoloom.formats.imod.export import write_imod
from cryoloom.formats.imod.transforms import poses_from_xf, read_angles, read_xf
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries, Tomogram


def make_series(rng, *, aligned=True, x_tilt=0.0):
    tilts = tuple(
        Tilt(
            i,
            angle,
            3.0 * i,
            3.0 * i + 3.0,
            section=i,
            pose=Pose(-85.0, angle + 1, x_tilt, (5.0 * i, 2.0)) if aligned and i != 3 else None,
            exclusion=Exclusion.by_step("dark", "select_tilts") if i == 3 else None,
        )
        for i, angle in enumerate([-40.0, -20.0, 0.0, 20.0, 40.0])
    )
    images = rng.normal(size=(5, 40, 60)).astype(np.float32)
    return TiltSeries(
        "TS_01", Microscope(), 2.7, tilts, stack=Stack(images, 2.7), weighted=Stack(images, 2.7)
    )


def options(path):
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines()[1:] if " " in line)


@pytest.mark.parametrize(("hand", "inverts"), [(1.0, False), (-1.0, True), (None, False)])
def test_writes_defocus_and_its_correction(rng, tmp_path, hand, inverts):
    series = replace(make_series(rng), handedness=Sourced.from_told(hand, "user"))
    series = series.with_tilts({i: {"ctf": Ctf(30000.0 + 10 * i, 29000.0, 20.0)} for i in range(5) if i != 3})
    write_imod([(series, Tomogram(series, np.zeros((8, 20, 12), np.float32), 8.1))], tmp_path)
    folder = tmp_path / "TS_01"
    correction = options(folder / "ctfcorrection.com")
    assert correction["InputStack"] == options(folder / "newst.com")["OutputFile"]
    assert float(correction["PixelSize"]) == pytest.approx(0.81)
    assert ("InvertTiltAngles" in (folder / "ctfcorrection.com").read_text()) == inverts
    for name in (correction["DefocusFile"], correction["TransformFile"], correction["AngleFile"]):
        assert (folder / name).is_file()
    read = read_imod_defocus(folder / "TS_01.defocus", series)
    found = ctfs_by_tilt(read, series)
    assert read.handedness == (-1 if inverts else None)
    assert [found[i].predicted for i in range(5)] == [False, False, False, True, False]


def test_writes_files_that_agree(rng, tmp_path):
    series = make_series(rng, x_tilt=1.5)
    tomogram = Tomogram(series, np.zeros((8, 20, 12), np.float32), 8.1)
    paths = write_imod([(series, tomogram)], tmp_path)
    assert all(path.is_file() for path in paths)
    folder = tmp_path / "TS_01"
    newst, tilt = options(folder / "newst.com"), options(folder / "tilt.com")
    assert newst["InputFile"] == "TS_01_dose_weighted.mrc"
    assert newst["OutputFile"] == tilt["InputProjections"]
    assert newst["BinByFactor"] == tilt["IMAGEBINNED"] == "3"
    assert newst["SizeToOutputInXandY"] == "12,20"
    assert tilt["FULLIMAGE"] == "36 60"
    assert tilt["THICKNESS"] == "24"
    assert tilt["EXCLUDELIST"] == "4"
    assert tilt["XTILTFILE"] == "TS_01.xtilt"
    for name in (newst["InputFile"], newst["TransformFile"], tilt["TILTFILE"], tilt["XTILTFILE"]):
        assert (folder / name).is_file()
    poses = poses_from_xf(
        read_xf(folder / "TS_01.xf"),
        read_angles(folder / "TS_01.tlt"),
        2.7,
        (40, 60),
        read_angles(folder / "TS_01.xtilt"),
    )
    assert len(poses) == MrcPixels(folder / "TS_01.mrc").shape[0]
    for found, tilt_was in zip(poses, series.tilts, strict=True):
        if tilt_was.pose is not None:
            np.testing.assert_allclose(found.shift_xy_angstrom, tilt_was.pose.shift_xy_angstrom, atol=3e-3)
            assert found.axis_deg == pytest.approx(-85.0)


def test_an_unaligned_series_gets_its_stack_and_angles(rng, tmp_path):
    paths = write_imod([(make_series(rng, aligned=False), None)], tmp_path)
    assert sorted(path.name for path in paths) == ["TS_01.mrc", "TS_01.rawtlt", "TS_01_dose_weighted.mrc"]
    assert read_angles(tmp_path / "TS_01" / "TS_01.rawtlt").tolist() == [-40.0, -20.0, 0.0, 20.0, 40.0]


def test_a_half_aligned_series_is_refused(rng, tmp_path):
    series = make_series(rng).with_tilts({1: {"pose": None}})
    with pytest.raises(DataUnfitError, match=r"\[1\]"):
        write_imod([(series, None)], tmp_path)
