"""Motion STAR files: layout and sign of RELION's own, and read by RELION where it is installed."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import starfile

from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.formats.relion.relion5 import read_relion5_tilt_series, write_relion5
from cryoloom.formats.relion.relion5_motion import read_motion_shifts
from cryoloom.model import GainReference, Microscope, Movie, Pose, Stack, Tilt, TiltSeries

PIXEL = 1.35
# Where the specimen is in each frame, relative to the mean, (y, x) in pixels.
DRIFT_PX = np.array([[-3.0, 2.0], [-1.0, 1.0], [1.0, -1.0], [3.0, -2.0]])


def make_series(rng, folder, n_tilts=2):
    """Movies of one picture that drifts, and the series as align_frames leaves it."""
    side = 256
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    picture = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * np.exp(-((frequency / 0.15) ** 2)))
    tilts = []
    for i in range(n_tilts):
        frames = [
            20 + 60 * np.roll(picture, shift.astype(int), (0, 1)) + rng.normal(0, 3, (side, side))
            for shift in DRIFT_PX
        ]
        path = folder / f"movie_{i}.mrc"
        write_mrc(path, np.array(frames, np.float32), PIXEL)
        tilts.append(
            Tilt(
                i,
                10.0 * i,
                3.0 * i,
                3.0 * i + 3.0,
                movie=Movie(path, len(DRIFT_PX), (side, side)),
                section=i,
                pose=Pose(85.0, 10.0 * i),
                frame_shifts_yx_angstrom=tuple((PIXEL * y, PIXEL * x) for y, x in DRIFT_PX),
            )
        )
    images = rng.normal(size=(n_tilts, side // 2, side // 2)).astype(np.float32)
    return TiltSeries("TS_01", Microscope(), PIXEL, tuple(tilts), stack=Stack(images, 2 * PIXEL))


def test_names_movies_and_shifts_as_relion_does(rng, tmp_path, data):
    (tmp_path / "raw").mkdir()
    series = make_series(rng, tmp_path / "raw")
    out = tmp_path / "out"
    write_relion5([(series, None)], out)
    table = starfile.read(out / "tilt_series" / "TS_01.star")
    assert list(table["rlnTomoTiltMovieFrameCount"]) == [4, 4]
    for i, row in table.iterrows():
        assert (out / row["rlnMicrographMovieName"]).resolve() == tmp_path / "raw" / f"movie_{i}.mrc"
        np.testing.assert_allclose(
            read_motion_shifts(out / row["rlnMicrographMetadata"]), -DRIFT_PX, atol=1e-6
        )
    ours = starfile.read(out / table["rlnMicrographMetadata"][1], always_dict=True)
    theirs_path = (
        data / "relion5" / "empiar-10164" / "MotionCorr" / "job002" / "frames" / "TS_01_000_0_0.star"
    )
    theirs = starfile.read(theirs_path, always_dict=True)
    assert set(ours["general"]) == set(theirs["general"])
    assert list(ours["global_shift"]) == list(theirs["global_shift"])
    general = ours["general"]
    assert general["rlnMicrographBinning"] == 2.0
    assert general["rlnMicrographDoseRate"] == 0.75
    assert general["rlnMicrographPreExposure"] == 3.0


def test_motion_comes_back_with_the_series(rng, tmp_path):
    (tmp_path / "raw").mkdir()
    series = make_series(rng, tmp_path / "raw")
    trimmed = series.with_tilts(
        {0: {"first_frame": 1, "frame_shifts_yx_angstrom": series.tilts[0].frame_shifts_yx_angstrom[1:3]}}
    )
    write_relion5([(trimmed, None)], tmp_path / "out")
    found = read_relion5_tilt_series(tmp_path / "out" / "tilt_series.star", "TS_01")
    for before, after in zip(trimmed.tilts, found.tilts, strict=True):
        np.testing.assert_allclose(
            after.frame_shifts_yx_angstrom, before.frame_shifts_yx_angstrom, atol=1e-3 * PIXEL
        )
        assert after.first_frame == before.first_frame


def test_motion_of_relions_own_project(data):
    project = data / "relion5" / "empiar-10164"
    star = project / "MotionCorr" / "job002" / "corrected_tilt_series.star"
    found = read_relion5_tilt_series(star, "TS_01")
    moved = [tilt for tilt in found.tilts if tilt.frame_shifts_yx_angstrom]
    assert moved
    path = project / "MotionCorr" / "job002" / "frames" / "TS_01_000_0_0.star"
    shifts = read_motion_shifts(path)
    first = next(tilt for tilt in found.tilts if tilt.acquisition_index == 0)
    np.testing.assert_allclose(first.frame_shifts_yx_angstrom, -shifts * found.pixel_size_angstrom)


def test_frames_that_were_left_out_keep_their_numbers(rng, tmp_path):
    (tmp_path / "raw").mkdir()
    series = make_series(rng, tmp_path / "raw")
    trimmed = series.with_tilts(
        {0: {"first_frame": 1, "frame_shifts_yx_angstrom": series.tilts[0].frame_shifts_yx_angstrom[1:3]}}
    )
    write_relion5([(trimmed, None)], tmp_path / "out")
    motion = starfile.read(tmp_path / "out" / "motion" / "TS_01" / "TS_01_000.star", always_dict=True)
    assert list(motion["global_shift"]["rlnMicrographFrameNumber"]) == [2, 3]
    assert motion["general"]["rlnMicrographStartFrame"] == 2
    assert motion["general"]["rlnImageSizeZ"] == 4
    assert motion["general"]["rlnMicrographDoseRate"] == 0.75


def test_a_gain_that_must_be_turned_is_mentioned(rng, tmp_path):
    (tmp_path / "raw").mkdir()
    series = replace(
        make_series(rng, tmp_path / "raw"), gain=GainReference(tmp_path / "gain.mrc", quarter_turns=1)
    )
    write_relion5([(series, None)], tmp_path / "out")
    assert "gain.mrc must be rotated or inverted" in (tmp_path / "out" / "NOTES.txt").read_text()
    assert "GainName" not in (tmp_path / "out" / "motion" / "TS_01" / "TS_01_000.star").read_text()
    fitting = replace(series, gain=GainReference(tmp_path / "gain.mrc"))
    write_relion5([(fitting, None)], tmp_path / "out")
    assert "gain.mrc" in (tmp_path / "out" / "motion" / "TS_01" / "TS_01_000.star").read_text()


def test_relions_own_motion_correction_agrees(rng, tmp_path):
    """relion_run_motioncorr --use_own on the same movie: its shifts are ours but for the frame of
    reference."""
    if shutil.which("relion_run_motioncorr") is None:
        pytest.skip("RELION is not installed")
    (tmp_path / "raw").mkdir()
    series = make_series(rng, tmp_path / "raw", n_tilts=2)
    write_relion5([(series, None)], tmp_path)
    command = (
        "relion_run_motioncorr --i raw/movie_0.mrc --o own --use_own --angpix 1.35 --voltage 300 "
        "--dose_per_frame "
        "0.75 --j 2 --bfactor 20 --skip_defect --patch_x 1 --patch_y 1"
    )
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True)
    found = list(tmp_path.glob("own/**/movie_0.star"))
    assert found, done.stdout + done.stderr
    relion, ours = (
        read_motion_shifts(found[0]),
        read_motion_shifts(tmp_path / "motion" / "TS_01" / "TS_01_000.star"),
    )
    np.testing.assert_allclose(relion, ours - ours[0], atol=0.25)
    # And RELION's table reader takes ours.
    printed = subprocess.run(
        ["relion_star_printtable", "motion/TS_01/TS_01_000.star", "data_global_shift", "rlnMicrographShiftX"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose([float(word) for word in printed.stdout.split()], -DRIFT_PX[:, 1])
