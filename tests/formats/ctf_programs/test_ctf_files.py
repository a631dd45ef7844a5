"""CTF files found by a series' name: whose they are, which are too many, and what a damaged one says."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.ctf_programs.ctf_files import ctf_digests, find_ctf, read_ctf
from cryoloom.formats.ctf_programs.ctffind import write_ctffind
from makers.ctf_series import series_with_ctfs

FILES = {
    "imod": "TS_01.defocus",
    "aretomo": "TS_01_CTF.txt",
    "warp": "TS_01.xml",
    "cets": "TS_01_cets.json",
    "star": "TS_01/micrographs_all_gctf.star",
    "ctffind": "TS_01_ctffind4.txt",
}


def placed(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    return path


@pytest.mark.parametrize("program", sorted(FILES))
@pytest.mark.parametrize("below", ["", "processed/"])
def test_the_only_file_of_a_series_tells_its_program(tmp_path, program, below):
    if program == "star" and below:
        below = ""  # Gctf's own folder is already one below
    path = placed(tmp_path, below + FILES[program])
    placed(tmp_path, "TS_02.defocus")
    assert find_ctf(tmp_path, "TS_01", "auto") == (program, path)
    assert find_ctf(tmp_path, "TS_01", program) == (program, path)


def test_files_of_two_programs_must_be_chosen_from(tmp_path):
    imod, warp = placed(tmp_path, FILES["imod"]), placed(tmp_path, FILES["warp"])
    with pytest.raises(UserInputError, match="by imod, warp; choose one with program"):
        find_ctf(tmp_path, "TS_01", "auto")
    assert find_ctf(tmp_path, "TS_01", "warp") == ("warp", warp)
    assert ctf_digests(tmp_path, "TS_01", "imod").keys() == {str(imod)}


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("rings of TS_01.star", "star"),
        ("TS_01_a.defocus", "imod"),
        ("x_TS_01.xml", "warp"),
        ("TS_01.json", "cets"),
        ("y_TS_01_CTF.txt", "aretomo"),
        ("TS_01_diagnostic.txt", "ctffind"),
    ],
)
def test_a_name_that_a_user_gives_overrules_the_programs(tmp_path, name, program):
    path = placed(tmp_path, name)
    placed(tmp_path, FILES["imod"])
    pattern = name.replace("TS_01", "{series}")
    assert find_ctf(tmp_path, "TS_01", "auto", pattern) == (program, path)
    assert find_ctf(tmp_path, "TS_01", "ctffind", pattern) == ("ctffind", path)


def test_no_file_says_what_was_looked_for(tmp_path):
    with pytest.raises(DataUnfitError, match=r"expected one of TS_01\.defocus; or give file"):
        find_ctf(tmp_path, "TS_01", "imod")
    with pytest.raises(DataUnfitError, match=r"TS_01\.defocus, TS_01\.star.*TS_01_CTF\.txt"):
        find_ctf(tmp_path, "TS_01", "auto")


def test_what_was_written_is_read_and_an_impossible_value_names_its_file(tmp_path):
    series = series_with_ctfs((0.0, 3.0, -3.0))
    path = tmp_path / f"{series.name}_ctffind.txt"
    write_ctffind(path, series)
    found = read_ctf("ctffind", path, series)
    assert sorted(view.ctf.defocus_u_angstrom for view in found.views) == pytest.approx(
        sorted(tilt.ctf.defocus_u_angstrom for tilt in series.tilts), abs=0.01
    )
    first = f"{found.views[0].ctf.defocus_u_angstrom:.6f}"
    text = path.read_text()
    assert first in text
    path.write_text(text.replace(first, "9e99"))
    one_astray = read_ctf("ctffind", path, series)
    assert len(one_astray.views) == 2
    assert (
        f"1 of 3 fits went astray and are left out: the defocus in line 1 of {path.name}"
        in one_astray.notes[0]
    )
