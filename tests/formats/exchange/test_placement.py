"""Pixels and poses of an export: what is linked, what is refused, what is noted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.exchange.placement import (
    exportable,
    place_pixels,
    poses_by_section,
    require_one_magnification,
    require_one_x_tilt,
    write_notes,
)
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model import Exclusion, Pose
from makers.made_series import aligned, make_series


@pytest.fixture
def series():
    return aligned(make_series(n_tilts=5, shape_yx=(128, 128)))


def refuse(series):
    raise DataUnfitError("it is too flat")


def test_series_that_do_not_fit_are_named_and_none_at_all_is_refused(series):
    other = replace(series, name="TS_02")
    fit, notes = exportable(
        [(series, None), (other, None)], lambda one: refuse(one) if one is other else None
    )
    assert [one.name for one, _ in fit] == [series.name]
    assert notes == ["TS_02 was left out: it is too flat"]
    with pytest.raises(DataUnfitError, match=r"no series can be exported. TS_02 was left out"):
        exportable([(other, None)], refuse)
    with pytest.raises(UserInputError, match="nothing to export"):
        exportable([], refuse)


def test_poses_come_by_section_and_excluded_tilts_get_a_straight_one(series):
    index = series.tilts[0].acquisition_index
    without = series.with_tilts({index: {"pose": None, "exclusion": Exclusion.by_user("dark")}})
    tilts, poses = poses_by_section(without)
    assert [tilt.section for tilt in tilts] == list(range(5))
    at = next(i for i, tilt in enumerate(tilts) if tilt.acquisition_index == index)
    assert poses[at].tilt_deg == series.tilts[0].nominal_tilt_deg
    assert poses[at].axis_deg == series.tilts[1].pose.axis_deg
    with pytest.raises(DataUnfitError, match="have no pose while others have"):
        poses_by_section(series.with_tilts({index: {"pose": None}}))


def test_what_moves_the_edge_by_half_a_pixel_is_refused(series):
    # The field is 128 pixels: half a pixel of its edge is 0.0078, or 0.448 degrees.
    poses = [Pose(0.0, 0.0), Pose(0.0, 0.0, magnification=1.007)]
    require_one_magnification(series, poses, "RELION")
    with pytest.raises(DataUnfitError, match="RELION cannot describe that"):
        require_one_magnification(series, [*poses, Pose(0.0, 0.0, magnification=1.009)], "RELION")
    require_one_x_tilt(series, [Pose(0.0, 0.0, x_tilt_deg=5.0), Pose(0.0, 0.0, x_tilt_deg=5.4)], "AreTomo")
    with pytest.raises(DataUnfitError, match=r"differ in x-tilt by 0\.50 deg; AreTomo"):
        require_one_x_tilt(
            series, [Pose(0.0, 0.0, x_tilt_deg=5.0), Pose(0.0, 0.0, x_tilt_deg=5.5)], "AreTomo"
        )


def test_notes_replace_those_of_an_earlier_export(tmp_path):
    (path,) = write_notes(tmp_path, ["one", "two"])
    assert path.read_text() == "one\ntwo\n"
    assert write_notes(tmp_path, []) == ()
    assert not path.exists()


def stack_file(path, dtype="float32"):
    sink = MrcSink(path, (2, 8, 8), 3.0, dtype, kind="stack")
    sink[...] = np.arange(128, dtype=np.float32).reshape(2, 8, 8)
    sink.commit()
    return MrcPixels(path)


@pytest.mark.parametrize("link", [True, False])
def test_files_are_linked_or_copied_and_replace_what_was_there(tmp_path, link):
    pixels = stack_file(tmp_path / "own.mrc")
    destination = tmp_path / "out" / "a.mrc"
    for _ in range(2):  # the second time it is there already
        assert place_pixels(pixels, destination, 3.0, link=link) == destination
    assert destination.samefile(tmp_path / "own.mrc") is link
    np.testing.assert_array_equal(MrcPixels(destination)[:], pixels[:])
    assert [path.name for path in destination.parent.iterdir()] == ["a.mrc"]


def test_half_floats_are_written_as_floats_for_programs_that_do_not_read_them(tmp_path):
    pixels = stack_file(tmp_path / "own.mrc", "float16")
    placed = place_pixels(pixels, tmp_path / "a.mrc", 3.0, link=True)
    assert MrcPixels(placed).dtype == np.float32
    np.testing.assert_array_equal(MrcPixels(placed)[:], pixels[:])
    kept = place_pixels(pixels, tmp_path / "b.mrc", 3.0, link=True, reads_float16=True)
    assert kept.samefile(tmp_path / "own.mrc")
