"""CTFs of other programs are put on the right tilts, and the user is warned of what was missing."""

from __future__ import annotations

import re

import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.ctf_programs.ctffind import write_aretomo_ctf, write_ctffind
from cryoloom.formats.ctf_programs.gctf import write_gctf
from cryoloom.formats.imod.defocus import write_imod_defocus
from cryoloom.model import Ctf
from cryoloom.steps.import_ctf import ImportCtfParams, import_ctf
from makers.ctf_series import assert_same_ctfs, series_with_ctfs

ANGLES = (0.0, 3.0, -3.0, -6.0, 6.0)
FILES = {
    "imod": ("TS_01.defocus", write_imod_defocus),
    "aretomo": ("TS_01_CTF.txt", write_aretomo_ctf),
    "ctffind": ("TS_01.txt", write_ctffind),
    "star": ("TS_01_gctf.star", write_gctf),
}


@pytest.fixture
def series():
    return series_with_ctfs(ANGLES, handedness=-1.0)


@pytest.fixture
def bare(series):
    return series.with_tilts({t.acquisition_index: {"ctf": None} for t in series.tilts})


@pytest.mark.parametrize("program", FILES)
@pytest.mark.parametrize("below", [False, True])
def test_every_programs_file_is_found_and_matched(series, bare, context, tmp_path, program, below):
    name, write = FILES[program]
    folder = tmp_path / "job" if below else tmp_path
    folder.mkdir(exist_ok=True)
    write(folder / name, series)
    found = import_ctf(bare, ImportCtfParams(folder=tmp_path), context)
    ctfs = {t.acquisition_index: t.ctf for t in found.tilts if t.ctf is not None}
    assert_same_ctfs(ctfs, series, to_angstrom=0.51)
    assert context.figures["n_imported"] == 5
    assert found.handedness == series.handedness


def test_tilts_the_file_does_not_tell_keep_theirs_and_are_named(series, context, tmp_path):
    own = Ctf(12345.0, 12000.0, 0.0)
    path = tmp_path / "TS_01.star"
    path.write_text(
        "data_\n\nloop_\n_rlnTomoNominalStageTiltAngle #1\n_rlnDefocusU #2\n_rlnDefocusV "
        "#3\n_rlnDefocusAngle #4\n"
        "0.0 30000 29000 0\n3.0 30000 29000 0\n"
    )
    changed = series.with_tilts({4: {"ctf": own}})
    found = import_ctf(changed, ImportCtfParams(folder=tmp_path), context)
    assert next(t.ctf for t in found.tilts if t.acquisition_index == 4) == own
    assert "has no CTF for the tilts [3, 2, 4]" in context.warnings[0]


def test_a_name_of_ones_own(series, bare, context, tmp_path):
    write_ctffind(tmp_path / "result_TS_01_x.txt", series)
    found = import_ctf(bare, ImportCtfParams(folder=tmp_path, file="result_{series}_x.txt"), context)
    assert all(t.ctf is not None for t in found.tilts)


def test_two_programs_are_not_chosen_between(series, context, tmp_path):
    for name, write in FILES.values():
        write(tmp_path / name, series)
    with pytest.raises(UserInputError, match="aretomo, ctffind, imod, star"):
        import_ctf(series, ImportCtfParams(folder=tmp_path), context)
    assert import_ctf(series, ImportCtfParams(folder=tmp_path, program="imod"), context).name == "TS_01"


def test_a_series_without_a_file_is_reported_with_the_expected_names(series, context, tmp_path):
    with pytest.raises(DataUnfitError, match=r"TS_01\.defocus"):
        import_ctf(series, ImportCtfParams(folder=tmp_path), context)


@pytest.mark.parametrize("program", FILES)
def test_a_replaced_file_is_noticed(series, tmp_path, program):
    name, write = FILES[program]
    write(tmp_path / name, series)
    outside, params = import_ctf.declaration.outside, ImportCtfParams(folder=tmp_path)
    before = outside("TS_01", params)
    write(tmp_path / name, series)
    assert outside("TS_01", params) == before
    write(tmp_path / name, series.with_tilts({2: {"ctf": Ctf(12345.0, 12000.0, 0.0)}}))
    assert outside("TS_01", params) != before


@pytest.mark.parametrize("defocus", ["1e7", "nan", "1e24"])
def test_a_defocus_that_no_lens_has_is_refused(bare, context, tmp_path, defocus):
    """A millimetre: a file in other units, or one that lost its decimal commas."""
    (tmp_path / "TS_01.star").write_text(
        "data_\n\nloop_\n_rlnTomoNominalStageTiltAngle #1\n_rlnDefocusU #2\n_rlnDefocusV "
        f"#3\n_rlnDefocusAngle #4\n0.0 {defocus} 29000 0\n3.0 30000 29000 0\n"
    )
    with pytest.raises(DataUnfitError, match=r"TS_01\.star"):
        import_ctf(bare, ImportCtfParams(folder=tmp_path), context)


def with_defocus(series, values):
    """The series with these defoci, by acquisition index; others stay."""
    return series.with_tilts({index: {"ctf": Ctf(value, value, 0.0)} for index, value in values.items()})


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({2: 0.0}, r"no defocus was found for the tilts \[2\] \(below 200 A\); left out"),
        ({3: 250000.0}, r"the defocus of the tilts \[3\] is far from that of the others \(250000 and "),
        ({i: -20000.0 for i in range(5)}, "the defocus is -20000 A, overfocus"),
        ({i: 3000.0 for i in range(5)}, "the defocus is 3000 A, that set at the microscope 30000 A"),
    ],
)
def test_odd_values_are_named(series, bare, context, tmp_path, change, note):
    write_ctffind(tmp_path / "TS_01.txt", with_defocus(series, change))
    aimed = bare.with_tilts({t.acquisition_index: {"nominal_defocus_angstrom": 30000.0} for t in bare.tilts})
    found = import_ctf(aimed, ImportCtfParams(folder=tmp_path), context)
    assert any(re.search(note, warning) for warning in context.warnings), context.warnings
    assert sum(t.ctf is not None for t in found.tilts) == 5 - sum(value == 0 for value in change.values())


@pytest.mark.parametrize("defocus", [0.0, 3.5])
def test_values_that_are_no_angstrom_are_refused(series, bare, context, tmp_path, defocus):
    write_ctffind(tmp_path / "TS_01.txt", with_defocus(series, dict.fromkeys(range(5), defocus)))
    with pytest.raises(DataUnfitError, match="expected 200 A or more; it may be in micrometre"):
        import_ctf(bare, ImportCtfParams(folder=tmp_path), context)
