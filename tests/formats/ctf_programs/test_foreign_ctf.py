"""Which tilt a foreign CTF belongs to: found by section, rank, name or angle, and refused when in doubt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import (
    ForeignCtf,
    ForeignCtfView,
    ctf_of,
    ctfs_by_tilt,
    ctfs_of_sections,
)
from cryoloom.model import Ctf, Movie
from makers.ctf_series import series_with_ctfs

ANGLES = (0.0, 3.0, -3.0, -6.0, 6.0)
CTF = Ctf(30000.0, 29000.0, 10.0)


def foreign(*views: ForeignCtfView, n_images: int | None = None) -> ForeignCtf:
    return ForeignCtf(Path("other.txt"), views, n_images)


@pytest.fixture
def series():
    return series_with_ctfs(ANGLES)


@pytest.mark.parametrize("second", [20000.0, 25000.0])
def test_the_larger_defocus_comes_first_and_the_angle_is_its_own(second):
    ctf = ctf_of(22000.0, second, 80.0, fit_resolution_angstrom=float("inf"))
    assert ctf.defocus_u_angstrom >= ctf.defocus_v_angstrom
    assert ctf.astigmatism_angle_deg == (80.0 if second < 22000 else -10.0)
    assert ctf.fit_resolution_angstrom is None


def test_sections_ranks_and_angles_lead_to_the_same_tilt(series):
    by_section = ctfs_by_tilt(foreign(ForeignCtfView(CTF, section=3)), series)
    by_rank = ctfs_by_tilt(foreign(ForeignCtfView(CTF, tilt_rank=0)), series)
    by_angle = ctfs_by_tilt(foreign(ForeignCtfView(CTF, tilt_deg=-6.02)), series)
    assert by_section == by_rank == by_angle == {3: CTF}


def test_names_of_movies_are_found_with_what_programs_add(series):
    names = ["TS_01_1.tif", "TS_01_11.tif", "TS_01_2.tif", "TS_01_3.tif", "TS_01_4.tif"]
    tilts = tuple(
        replace(tilt, movie=Movie(Path(name), 8, (8, 8)))
        for tilt, name in zip(series.tilts, names, strict=True)
    )
    named = replace(series, tilts=tilts)
    found = ctfs_by_tilt(foreign(ForeignCtfView(CTF, image_name="C:\\frames\\TS_01_11_PS.mrc")), named)
    assert list(found) == [tilts[1].acquisition_index]
    with pytest.raises(DataUnfitError, match="fits 0 movies"):
        ctfs_by_tilt(foreign(ForeignCtfView(CTF, image_name="TS_07_1.mrc")), named)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (ForeignCtfView(CTF, section=5), "section 6, the stack of TS_01 has 5"),
        (ForeignCtfView(CTF, tilt_rank=5), "more values than TS_01 has images"),
        (ForeignCtfView(CTF, tilt_deg=-1.5), "0 tilts within 1.35 deg"),
        (ForeignCtfView(CTF, section=3, tilt_range_deg=(-3.0, -3.0)), "gives other tilt angles"),
        (ForeignCtfView(CTF), "does not show which image"),
    ],
)
def test_what_is_not_certain_is_refused(series, view, message):
    with pytest.raises(DataUnfitError, match=message):
        ctfs_by_tilt(foreign(view), series)


def test_a_file_of_fewer_images_is_refused(series):
    with pytest.raises(DataUnfitError, match="is of 4 images, the stack of TS_01 has 5"):
        ctfs_by_tilt(foreign(*(ForeignCtfView(CTF, section=i) for i in range(4)), n_images=4), series)


def test_two_values_for_one_tilt_are_refused(series):
    with pytest.raises(DataUnfitError, match="more than one CTF"):
        ctfs_by_tilt(foreign(ForeignCtfView(CTF, section=1), ForeignCtfView(CTF, section=1)), series)


def test_doses_part_tilts_of_equal_angle(series):
    twice = replace(
        series,
        tilts=(*series.tilts, replace(series.tilts[2], acquisition_index=9, dose_start_per_angstrom2=90.0)),
    )
    view = ForeignCtfView(CTF, tilt_deg=0.0, dose_start_per_angstrom2=88.0)
    assert ctfs_by_tilt(foreign(view), twice) == {9: CTF}


def test_a_section_without_a_ctf_borrows_its_neighbours_and_says_so():
    found = ctfs_of_sections(series_with_ctfs(ANGLES, excluded=3))
    assert [ctf.predicted for ctf in found] == [False, False, False, True, False]
    assert found[3].defocus_angstrom == found[2].defocus_angstrom
    assert found[3].score == 0.0
