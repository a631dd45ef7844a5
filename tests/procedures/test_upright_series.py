"""Aligned images: no axis, no shift, astigmatism turned back, movies gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryoloom.model import Ctf, Movie, Pose
from cryoloom.procedures.upright_series import upright_series
from makers.made_series import make_series


def test_what_is_left_of_a_pose():
    series = make_series(n_tilts=3).with_tilts(
        {
            1: {
                "pose": Pose(85.0, 3.0, 1.2, (10.0, -4.0), magnification=1.01),
                "ctf": Ctf(20000.0, 19000.0, 60.0),
                "movie": Movie(Path("/data/a.tif"), 8, (12, 16)),
                "frame_shifts_yx_angstrom": ((1.0, 2.0),),
            }
        }
    )
    found = upright_series(series, "a_step")
    tilt = next(t for t in found.tilts if t.acquisition_index == 1)
    assert tilt.pose == Pose(0.0, 3.0, 1.2)
    assert tilt.ctf.astigmatism_angle_deg == pytest.approx((60.0 - 85.0) % 180.0)
    assert tilt.movie is None
    assert tilt.frame_shifts_yx_angstrom == ()
    assert found.tilt_axis_deg.applied == 0.0
    assert found.tilt_axis_deg.measured_by == "a_step"
    assert next(t for t in found.tilts if t.acquisition_index == 0).pose is None
