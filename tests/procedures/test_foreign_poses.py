"""Poses of another program on the tilts they belong to; doubtful ones are refused or said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.exchange.foreign_alignment import ForeignAlignment, ForeignView
from cryoloom.model import Pose, Sourced
from cryoloom.procedures.foreign_poses import bytes_to_place_poses, with_foreign_poses
from makers.context import MemoryContext
from makers.made_series import make_series

N_TILTS, AXIS_DEG, OFFSET_DEG = 7, 85.0, 1.5


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=N_TILTS, shape_yx=(64, 64), step_deg=6.0, rng=rng, pixel_size_angstrom=10.0)
    return replace(made, tilt_axis_deg=Sourced.from_told(84.0, "mdoc"))


def view_of(tilt, **more):
    pose = Pose(
        axis_deg=AXIS_DEG,
        tilt_deg=tilt.nominal_tilt_deg + OFFSET_DEG,
        shift_xy_angstrom=(float(tilt.acquisition_index), 5.0),
    )
    return ForeignView(**({"pose": pose, "section": tilt.section, "tilt_deg": tilt.nominal_tilt_deg} | more))


def alignment(series, views=None, **more):
    made = views or tuple(view_of(tilt) for tilt in series.tilts)
    return ForeignAlignment(Path("TS_01.aln"), tuple(made), N_TILTS, **more)


def put(series, found, context=None, **how):
    return with_foreign_poses(
        series, found, context or MemoryContext(), program="AreTomo", step="import_alignment", **how
    )


def test_every_tilt_gets_the_pose_of_its_own_view(series):
    context = MemoryContext()
    views = [view_of(tilt) for tilt in series.tilts]
    made = put(series, alignment(series, views[::-1]), context)  # in another order
    for tilt in made.tilts:
        assert tilt.pose.tilt_deg == pytest.approx(tilt.nominal_tilt_deg + OFFSET_DEG)
        assert tilt.pose.shift_xy_angstrom[0] == tilt.acquisition_index
    assert context.figures["tilt_axis_deg"] == pytest.approx(AXIS_DEG)
    assert context.figures["tilt_offset_deg"] == pytest.approx(OFFSET_DEG)
    assert context.figures["n_imported"] == N_TILTS
    assert made.tilt_axis_deg.applied == pytest.approx(AXIS_DEG)
    assert made.tilt_axis_deg.told == 84.0  # what the metadata said stays known


def test_what_the_program_left_out_is_left_out_here_too(series):
    views = [view_of(tilt, used=tilt.section != 2) for tilt in series.tilts]
    made = put(series, alignment(series, views))
    assert [tilt.section for tilt in made.tilts if tilt.is_excluded] == [2]
    assert "left out in TS_01.aln" in made.tilts[2].exclusion.reason
    kept = put(series, alignment(series, views), exclude=False)
    assert not any(tilt.is_excluded for tilt in kept.tilts)


def test_a_view_without_a_pose_is_excluded_in_any_case(series):
    views = [view_of(tilt) if tilt.section != 2 else view_of(tilt, pose=None) for tilt in series.tilts]
    made = put(series, alignment(series, views), exclude=False)
    assert made.tilts[2].pose is None
    assert made.tilts[2].is_excluded


def test_another_axis_is_used_and_said(series):
    context = MemoryContext()
    turned = replace(series, tilt_axis_deg=Sourced.from_told(-5.0, "mdoc"))
    made = put(turned, alignment(series), context)
    assert made.tilt_axis_deg.applied == pytest.approx(AXIS_DEG)
    assert any("90 deg apart; that of TS_01.aln is used" in warning for warning in context.warnings)


def test_the_opposite_direction_of_the_axis_is_the_same_line(series):
    context = MemoryContext()
    put(replace(series, tilt_axis_deg=Sourced.from_told(-96.0, "mdoc")), alignment(series), context)
    assert not any("apart" in warning for warning in context.warnings)


def test_shifts_of_many_fields_are_refused(series):
    """A lost decimal comma: 640 A of field."""
    far = view_of(series.tilts[0], pose=Pose(AXIS_DEG, -18.0, shift_xy_angstrom=(123456.0, 0.0)))
    views = [far, *(view_of(tilt) for tilt in series.tilts[1:])]
    with pytest.raises(
        DataUnfitError, match=r"the image shift in view 1 of TS_01\.aln is 123456 A in a field"
    ):
        put(series, alignment(series, views))


def test_views_of_another_series_are_refused(series):
    views = [view_of(tilt, tilt_deg=tilt.nominal_tilt_deg + 40.0) for tilt in series.tilts]
    with pytest.raises(DataUnfitError):
        put(series, alignment(series, views))


def test_one_tilt_that_is_left_is_no_series(series):
    views = [view_of(tilt, used=tilt.section == 0) for tilt in series.tilts]
    with pytest.raises(DataUnfitError, match="the alignment leaves 1 tilts, expected at least 2"):
        put(series, alignment(series, views))


def test_notes_of_the_file_are_warnings(series):
    context = MemoryContext()
    put(series, alignment(series, notes=("local shifts are not used",)), context)
    assert "TS_01.aln: local shifts are not used" in context.warnings


def test_memory_grows_with_the_images(series):
    small = bytes_to_place_poses(series)
    large = bytes_to_place_poses(make_series(n_tilts=41, shape_yx=(640, 640), pixel_size_angstrom=10.0))
    assert 400_000_000 < small < large
