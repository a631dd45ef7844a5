"""A series of the tilts in use alone, and its results put back by acquisition index."""

from __future__ import annotations

from dataclasses import replace

import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Ctf, Exclusion, Pose, Stack
from cryoloom.programs.included_tilts import (
    chosen_stack,
    names_of_images,
    of_tilts,
    pixels_of_image,
    series_centred_on_voxel,
    with_results,
    written,
)
from makers.made_series import aligned, make_series


@pytest.fixture
def series(rng):
    """Five tilts of which the second section is excluded."""
    whole = make_series(n_tilts=5, rng=rng)
    out = next(tilt for tilt in whole.tilts if tilt.section == 1)
    return whole.with_tilts({out.acquisition_index: {"exclusion": Exclusion.by_step("dark", "select_tilts")}})


def test_the_sections_in_use_are_written_and_numbered_anew(series, tmp_path):
    small = written(series, series.stack, tmp_path / "in.mrc")
    assert small.stack.images.shape[0] == 4
    assert sorted(tilt.section for tilt in small.tilts) == [0, 1, 2, 3]
    assert not any(tilt.is_excluded for tilt in small.tilts)
    stored = MrcPixels(tmp_path / "in.mrc")
    whole = {tilt.acquisition_index: tilt for tilt in series.tilts}
    for tilt in small.tilts:
        before = whole[tilt.acquisition_index]
        assert tilt.nominal_tilt_deg == before.nominal_tilt_deg
        assert_array_equal(stored[tilt.section], series.stack.images[before.section])


def test_results_go_back_to_their_own_tilts(series, tmp_path):
    small = written(series, series.stack, tmp_path / "in.mrc")
    found = small.with_tilts(
        {
            tilt.acquisition_index: {
                "pose": Pose(80.0, tilt.nominal_tilt_deg + 0.5),
                "ctf": Ctf(10000.0 + tilt.acquisition_index, 10000.0, 0.0),
            }
            for tilt in small.tilts
        }
    )
    whole = with_results(aligned(series), found)
    for tilt in whole.tilts:
        if tilt.section == 1:
            assert tilt.pose is None  # that of an earlier alignment would be wrong
            continue
        assert tilt.pose.tilt_deg == tilt.nominal_tilt_deg + 0.5
        assert tilt.ctf.defocus_u_angstrom == 10000.0 + tilt.acquisition_index
    assert whole.stack is series.stack


def test_too_few_tilts_are_refused(series, tmp_path):
    with pytest.raises(DataUnfitError, match="has 4 tilts in use, expected at least 6"):
        written(series, series.stack, tmp_path / "in.mrc", least=6)
    assert not (tmp_path / "in.mrc").exists()


def test_the_chosen_images_must_be_there(series):
    assert chosen_stack(series, "best") is series.best_stack
    assert chosen_stack(series, "unweighted") is series.unweighted_stack
    with pytest.raises(DataUnfitError, match="no dose-weighted images; run weight_dose before"):
        chosen_stack(series, "weighted")
    weighted = Stack(series.stack.images, 2.0)
    assert chosen_stack(replace(series, weighted=weighted), "weighted") is weighted


def test_tilts_are_in_the_order_of_their_angles(series):
    some = of_tilts(series, list(reversed(series.tilts))[:3], series.stack)
    angles = [tilt.nominal_tilt_deg for tilt in some.tilts]
    assert angles == sorted(angles)
    assert sorted(tilt.section for tilt in some.tilts) == [0, 1, 2]


def test_an_even_volume_s_centre_lies_half_a_voxel_off(series):
    posed = aligned(series)
    moved = series_centred_on_voxel(posed, (10, 11, 12), 4.0)
    for before, after in zip(posed.included, moved.included, strict=True):
        # x and z have even numbers of voxels: r = r' + 2 A along both.
        expected = before.pose.matrix[:2] @ [2.0, 0.0, 2.0] + before.pose.shift_xy_angstrom
        assert_allclose(after.pose.shift_xy_angstrom, expected)
    unmoved = series_centred_on_voxel(posed, (11, 13, 15), 4.0)
    assert_allclose(
        [t.pose.shift_xy_angstrom for t in unmoved.included],
        [t.pose.shift_xy_angstrom for t in posed.included],
    )


def test_halves_are_named_only_if_wanted_and_there(rng):
    images = rng.normal(size=(3, 4, 6)).astype("float32")
    plain = Stack(images, 2.0)
    halved = Stack(images, 2.0, even=images, odd=images)
    assert names_of_images(plain, halves=True) == ("images",)
    assert names_of_images(halved, halves=False) == ("images",)
    assert names_of_images(halved, halves=True) == ("images", "even", "odd")
    assert pixels_of_image(halved) == 24
