from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.contract import find_step
from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Stack
from cryoloom.steps.assign_poses import AssignPosesParams, assign_poses
from makers.made_series import aligned, make_series


def test_poses_come_by_acquisition_index_and_pixels_stay(context, rng):
    series = make_series(rng=rng)
    # The other set: other order of tilts, binned by 2, weighted pixels, doses forgotten.
    other = aligned(make_series(shape_yx=(6, 8), pixel_size_angstrom=4.0))
    other = replace(other, tilts=tuple(replace(t, dose_end_per_angstrom2=0.0) for t in other.tilts[::-1]))
    result = assign_poses(series, AssignPosesParams(), context, poses_from=other)
    assert result.stack is series.stack
    for tilt in result.tilts:
        assert tilt.pose.tilt_deg == tilt.nominal_tilt_deg
        assert tilt.pose.shift_xy_angstrom == (10.0 * tilt.acquisition_index, -tilt.acquisition_index)
        assert tilt.dose_end_per_angstrom2 == 3.0 * tilt.acquisition_index + 3.0
        assert tilt.ctf is None
    assert result.tilt_axis_deg.applied == 85.0
    assert context.figures == {"n_poses": 5.0}


def test_a_tilt_the_other_set_left_out_is_left_out(context):
    other = aligned(make_series(), leave_out=(3,))
    result = assign_poses(make_series(), AssignPosesParams(), context, poses_from=other)
    assert [t.acquisition_index for t in result.tilts if t.is_excluded] == [3]
    with pytest.raises(DataUnfitError, match="has no pose for tilt 3"):
        assign_poses(make_series(), AssignPosesParams(exclusions=False), context, poses_from=other)


def test_a_mismatch_is_refused_with_one_sentence(context):
    def refuse(series, other, words):
        with pytest.raises(DataUnfitError, match=words):
            assign_poses(series, AssignPosesParams(), context, poses_from=other)

    refuse(make_series("TS_02"), aligned(make_series()), "brings the series TS_01, expected TS_02")
    refuse(make_series(n_tilts=6), aligned(make_series()), r"does not have the tilts .* \[5\]")
    refuse(make_series(), make_series(), "was not aligned")
    moved = aligned(make_series()).with_tilts({2: {"nominal_tilt_deg": 12.0}})
    refuse(make_series(), moved, "index 2 of TS_01 at 12.00 deg, expected 3.00")
    cropped = replace(aligned(make_series()), stack=Stack(np.ones((5, 8, 16), np.float32), 2.0))
    refuse(make_series(), cropped, "cover another field")


def test_what_has_no_partner_is_a_wrong_request(context):
    with pytest.raises(UserInputError, match="needs a TiltSeries as poses_from, got a NoneType"):
        find_step("assign_poses").run(make_series(), AssignPosesParams(), context)
