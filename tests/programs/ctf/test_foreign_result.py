"""CTFs that a program found, on the tilts they belong to, and what is reported of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import ForeignCtf, ForeignCtfView, ctf_of
from cryoloom.model import Exclusion
from cryoloom.programs.ctf.foreign_result import series_with_found_ctfs
from makers.context import MemoryContext
from makers.made_series import aligned, make_series


def found_in(sections, **more):
    views = tuple(
        ForeignCtfView(
            ctf_of(20000.0 + 100 * s, 19000.0 + 100 * s, 10.0, fit_resolution_angstrom=6.0 + s), section=s
        )
        for s in sections
    )
    return ForeignCtf(Path("found.txt"), views, **more)


def test_a_ctf_goes_to_the_tilt_of_its_section():
    context = MemoryContext()
    series = series_with_found_ctfs(make_series(n_tilts=5), found_in(range(5), n_images=5), context)
    for tilt in series.tilts:
        assert tilt.ctf.defocus_u_angstrom == 20000.0 + 100 * tilt.section
    assert context.figures == {
        "n_fitted": 5.0,
        "defocus_median_angstrom": 19700.0,  # of section 2: (20200 + 19200) / 2
        "ctf_resolution_angstrom": 8.0,
    }


def test_a_tilt_that_the_program_leaves_out_loses_the_ctf_it_had():
    context = MemoryContext()
    had = aligned(make_series(n_tilts=5))
    assert all(tilt.ctf is not None for tilt in had.tilts)
    series = series_with_found_ctfs(had, found_in([0, 1, 3, 4]), context)
    (without,) = [tilt for tilt in series.tilts if tilt.ctf is None]
    assert without.section == 2
    assert any(
        f"no CTF for the tilts of acquisition index [{without.acquisition_index}]" in w
        for w in context.warnings
    )


def test_figures_are_of_tilts_in_use_alone():
    context = MemoryContext()
    series = make_series(n_tilts=5)
    worst = next(tilt for tilt in series.tilts if tilt.section == 4)
    series = series.with_tilts(
        {worst.acquisition_index: {"exclusion": Exclusion.by_step("dark", "select_tilts")}}
    )
    series_with_found_ctfs(series, found_in(range(5)), context)
    assert context.figures["n_fitted"] == 4
    assert context.figures["ctf_resolution_angstrom"] == 7.5  # of 6, 7, 8 and 9


def test_notes_of_the_file_are_warnings_and_no_resolution_has_a_reason():
    context = MemoryContext()
    view = ForeignCtfView(ctf_of(2e4, 2e4, 0.0), section=0)
    found = ForeignCtf(Path("found.txt"), (view,), notes=("a thickness of 900 A is not used",))
    series_with_found_ctfs(replace(make_series(n_tilts=1)), found, context)
    assert context.warnings == ["a thickness of 900 A is not used"]
    assert "does not say how far it sees rings" in context.reasons_not_measurable["ctf_resolution_angstrom"]


def test_no_ctf_at_all_is_no_result():
    with pytest.raises(DataUnfitError, match="gave no CTF for the tilts of TS_01 that are in use"):
        series_with_found_ctfs(make_series(n_tilts=3), ForeignCtf(Path("found.txt"), ()), MemoryContext())
