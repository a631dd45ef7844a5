"""A point is seen at the same place whatever frame it is described in."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.series.specimen_frame import pose_from_frame, series_from_frame, series_in_slab
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model import Ctf, Microscope, Pose, Slab, Sourced, Tilt, TiltSeries


def seen(pose, point):
    return pose.magnification * (pose.matrix @ point)[:2] + pose.shift_xy_angstrom


@pytest.mark.parametrize("tilt", [-57.0, 0.0, 60.0])
def test_points_stay_where_they_are_seen(rng, tilt):
    pose = Pose(85.3, tilt, 1.2, (30.0, -20.0), 1.02)
    offset, rotation = rng.normal(0, 100, 3), rotation_y(9.0) @ rotation_x(-3.0)
    other = pose_from_frame(pose, offset, rotation)
    for point in rng.normal(0, 500, (5, 3)):
        np.testing.assert_allclose(seen(other, point), seen(pose, offset + rotation @ point), atol=1e-9)


def test_a_turn_about_the_tilt_axis_adds_to_the_tilt():
    other = pose_from_frame(Pose(85.3, 21.0), (0.0, 0.0, 0.0), rotation_y(9.5))
    assert (other.axis_deg, other.tilt_deg, other.x_tilt_deg) == pytest.approx((85.3, 30.5, 0.0))


@pytest.mark.parametrize("handedness", [1.0, -1.0, None])
def test_defocus_is_told_at_the_new_origin(handedness):
    tilt = Tilt(0, 40.0, 0.0, 3.0, pose=Pose(85.0, 40.0), ctf=Ctf(30000.0, 29000.0, 10.0))
    bare = Tilt(1, 43.0, 3.0, 6.0)
    series = TiltSeries("a", Microscope(), 2.7, (tilt, bare), handedness=Sourced(applied=handedness))
    offset = np.array([100.0, 20.0, -300.0])
    after = series_from_frame(series, offset)
    height = beam_coordinate(offset[None], tilt.pose.matrix[None])[0, 0]
    expected = 30000.0 - (handedness or 0.0) * height
    assert after.tilts[0].ctf.defocus_u_angstrom == pytest.approx(expected)
    assert after.tilts[1] == bare


def test_a_series_is_laid_flat_once(rng):
    pose = Pose(85.3, 12.0, 0.0, (30.0, -20.0))
    measured = {
        name: Sourced(measured=value)
        for name, value in {"z_offset_angstrom": 120.0, "tilt_x_deg": 1.0, "tilt_y_deg": 9.0}.items()
    }
    slab = Slab(thickness_angstrom=Sourced(measured=900.0), **measured)
    series = TiltSeries("a", Microscope(), 2.7, (Tilt(0, 12.0, 0.0, 3.0, pose=pose),), slab=slab)
    flat = series_in_slab(series)
    for point in rng.normal(0, 500, (4, 3)):  # of the slab lying flat
        there = [0.0, 0.0, 120.0] + rotation_y(9.0) @ rotation_x(1.0) @ point
        np.testing.assert_allclose(seen(flat.tilts[0].pose, point), seen(pose, there), atol=1e-9)
    assert flat.slab.is_applied
    assert flat.slab.z_offset_angstrom.applied == 120.0
    assert series_in_slab(flat) is flat
    assert series_in_slab(replace(series, slab=None)).tilts == series.tilts
