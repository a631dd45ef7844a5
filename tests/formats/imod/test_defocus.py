""".defocus files: IMOD's own, every version and flag, both signs of the angles, round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ctfs_by_tilt
from cryoloom.formats.imod.defocus import read_defocus_file, read_imod_defocus, write_imod_defocus
from makers.ctf_series import assert_same_ctfs, series_with_ctfs

ANGLES = (-60.0, -30.0, 0.0, 30.0, 57.0)


@pytest.mark.parametrize(
    ("name", "flags", "first"),
    [
        ("TS_03_only_astigmatism", 1, (16516.0, 12067.0, 31.76, 0.0, None)),
        ("TS_03_astigmatism_and_phase_shift", 5, (14839.0, 10687.0, 32.44, 26.49, None)),
        ("TS_03_astigmatism_phase_shift_and_cutoff_freq", 37, (13314.0, 9175.0, 32.43, 29.08, 0.4912)),
    ],
)
def test_reads_imods_own_files(data, name, flags, first):
    file = read_defocus_file(data / "imod" / "defocus" / f"{name}.defocus")
    assert (file.version, file.flags, len(file.entries)) == (3, flags, 40)
    entry = file.entries[0]
    ctf = entry.ctf
    assert (entry.first_view, entry.last_view, entry.low_tilt_deg) == (1, 1, -57.0)
    np.testing.assert_allclose(
        (ctf.defocus_u_angstrom, ctf.defocus_v_angstrom, ctf.astigmatism_angle_deg, ctf.phase_shift_deg),
        first[:4],
    )
    assert entry.cut_on_per_nm == first[4]


def write(path, text):
    path.write_text(text)
    return path


def found_in(path, series):
    return ctfs_by_tilt(read_imod_defocus(path, series), series)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_plain_defocus_of_every_version(tmp_path, version):
    series = series_with_ctfs(ANGLES)
    lines = [f"{i + 1} {i + 1} {a} {a} {3000 + i}" for i, a in enumerate(ANGLES)]
    if version == 2:
        lines[0] += " 2"
    if version == 3:
        lines.insert(0, "0 0 0. 0. 0. 3")
    path = write(tmp_path / "a.defocus", "\n".join(lines) + "\n")
    assert read_defocus_file(path).version == version
    found = found_in(path, series)
    for tilt in series.tilts:
        ctf = found[tilt.acquisition_index]
        assert ctf.defocus_u_angstrom == ctf.defocus_v_angstrom == 10.0 * (3000 + tilt.section)


def test_old_files_that_count_from_0_are_recognised_by_their_angles(tmp_path):
    series = series_with_ctfs(ANGLES)
    path = write(tmp_path / "a.defocus", "1 1 -30 -30 3001\n2 2 0 0 3002\n3 3 30 30 3003\n")
    read = read_imod_defocus(path, series)
    assert "counted from 0" in read.notes[0]
    found = ctfs_by_tilt(read, series)
    at_zero = next(t.acquisition_index for t in series.tilts if t.nominal_tilt_deg == 0)
    assert found[at_zero].defocus_u_angstrom == 30020.0
    # The same from version 2 on is an error, not an old habit.
    newer = write(tmp_path / "b.defocus", "1 1 -30 -30 3001 2\n2 2 0 0 3002\n3 3 30 30 3003\n")
    with pytest.raises(DataUnfitError, match="gives other tilt angles"):
        found_in(newer, series)


def test_radians_and_swapped_defoci(tmp_path):
    series = series_with_ctfs(ANGLES)
    lines = ["15 0 0. 0. 0. 3"]
    lines += [f"{i + 1} {i + 1} {a} {a} 2900 3000 {math.pi / 6:.6f} -0.5236" for i, a in enumerate(ANGLES)]
    ctf = found_in(write(tmp_path / "a.defocus", "\n".join(lines)), series)[0]
    assert (ctf.defocus_u_angstrom, ctf.defocus_v_angstrom) == (30000.0, 29000.0)
    assert ctf.astigmatism_angle_deg == pytest.approx(-60.0, abs=1e-3)
    assert ctf.phase_shift_deg == pytest.approx(30.0, abs=1e-3)


def test_ranges_of_views_are_filled_as_predicted(tmp_path):
    series = series_with_ctfs(ANGLES)
    text = "1 0 0. 0. 0. 3\n1 3 -60 0 3000 2900 80\n3 5 0 57 3200 3100 -80\n"
    found = found_in(write(tmp_path / "a.defocus", text), series)
    by_section = {t.section: found[t.acquisition_index] for t in series.tilts}
    assert [by_section[i].predicted for i in range(5)] == [True, False, True, False, True]
    np.testing.assert_allclose(
        [by_section[i].defocus_u_angstrom for i in range(5)], [30000, 30000, 31000, 32000, 32000], atol=35
    )
    # Between 80 and -80 degrees lies 90, not 0; two directions averaged are a little less astigmatic.
    assert abs(by_section[2].astigmatism_angle_deg) == pytest.approx(90.0, abs=1e-6)


@pytest.mark.parametrize(("sign", "flags", "hand"), [(1, 1, None), (-1, 1, -1), (1, 17, -1)])
def test_the_sign_of_the_angles_tells_the_handedness(tmp_path, sign, flags, hand):
    series = series_with_ctfs(ANGLES)
    lines = [f"{flags} 0 0. 0. 0. 3"]
    lines += [f"{i + 1} {i + 1} {sign * a} {sign * a} {3000 + i} 2900 10" for i, a in enumerate(ANGLES)]
    read = read_imod_defocus(write(tmp_path / "a.defocus", "\n".join(lines)), series)
    assert read.handedness == hand
    assert len(ctfs_by_tilt(read, series)) == 5


@pytest.mark.parametrize(("hand", "phase"), [(1.0, 0.0), (-1.0, 35.0), (None, 0.0)])
def test_round_trip(tmp_path, hand, phase):
    series = series_with_ctfs(ANGLES, handedness=hand, phase_shift_deg=phase, excluded=1)
    write_imod_defocus(tmp_path / "a.defocus", series)
    read = read_imod_defocus(tmp_path / "a.defocus", series)
    assert read.handedness == (-1 if hand == -1 else None)
    assert_same_ctfs(ctfs_by_tilt(read, series), series, to_angstrom=0.51)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "not a .defocus file"),
        ("1 0 0. 0. 0. 3\n1 1 -60 -60 3000\n", "flags 1 ask for 7"),
        ("1 0 0. 0. 0. 3\n", "holds no defocus"),
        ("0 0 0. 0. 0. 3\n9 9 0 0 3000\n", "has a value for view 9, but the stack of TS_01 has 5"),
    ],
)
def test_other_texts_are_refused(tmp_path, text, message):
    with pytest.raises(DataUnfitError, match=message):
        read_imod_defocus(write(tmp_path / "x.defocus", text), series_with_ctfs(ANGLES))
