"""What is true of a simulated series: points of the ice, its defocus, and the file that keeps it."""

import numpy as np
import pytest

from cryoloom.model import Pose
from cryoloom.simulate.assess import (
    defocus_errors_angstrom,
)
from cryoloom.simulate.truth import LocalMotionTruth, Truth
from makers.simulated_truth import series, truth

__all__ = ["series", "truth"]


def test_points_fill_the_ice_seen_untilted(truth, rng):
    points = truth.random_specimen_points(rng, 500)
    in_ice = (points - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
    assert np.abs(in_ice[:, 2]).max() <= 600.001
    least = truth.tilts[0]
    image = points @ least.pose.matrix[:2].T + least.shift_xy_angstrom
    assert np.abs(image[:, 0]).max() <= 1800
    assert np.abs(image[:, 1]).max() <= 1280
    assert image[:, 0].std() == pytest.approx(3600 / np.sqrt(12), rel=0.1)


def test_defocus_of_the_ice_at_the_image_centre(truth, series):
    for tilt in truth.tilts:
        # A point of the ice's middle plane that falls on the image's centre has that defocus.
        w = tilt.defocus_angstrom - truth.defocus_of_ice_angstrom(tilt.acquisition_index)
        point = tilt.pose.matrix.T @ np.array([*(-np.array(tilt.shift_xy_angstrom)), w])
        in_ice = (point - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
        assert in_ice[2] == pytest.approx(0, abs=1e-9)
    errors = defocus_errors_angstrom(truth, series, at="ice")
    assert errors[0] == pytest.approx(truth.tilts[0].defocus_angstrom - truth.defocus_of_ice_angstrom(0))


def test_truth_survives_its_file(truth, tmp_path):
    truth.save(tmp_path / "truth.json")
    back = Truth.load(tmp_path / "truth.json")
    assert back.tilts == truth.tilts
    assert back.tilts[0].pose == Pose(
        truth.tilts[0].axis_deg, truth.tilts[0].tilt_deg, 0.0, truth.tilts[0].shift_xy_angstrom
    )


def test_local_motion_is_zero_on_average_and_follows_its_terms():
    truth = LocalMotionTruth(
        coefficients_yx_angstrom=((1.0, 0.0), (0.0, 2.0), (3.0, 0.0), (0.0, 4.0), (5.0, 0.0)),
        course=(0.5, -0.25),
    )
    at = np.linspace(-1, 1, 401)
    moved = truth.displacement_yx_angstrom(0, at, at)
    y, x = at[:, None], at[None, :]
    expected_y = 1.0 * x + 3.0 * (x**2 - 1 / 3) + 5.0 * (y**2 - 1 / 3)
    np.testing.assert_allclose(moved[..., 0], 0.5 * expected_y, atol=1e-12)
    np.testing.assert_allclose(moved[..., 1], 0.5 * (2.0 * y + 4.0 * x * y), atol=1e-12)
    # The mean of a grid that includes both edges is off by a hundredth.
    assert np.abs(moved.mean(axis=(0, 1))).max() < 0.02
    np.testing.assert_allclose(truth.displacement_yx_angstrom(1, at, at), -0.5 * moved)


def test_true_poses_and_ctfs_replace_others(truth, series):
    bare = series.with_tilts({t.acquisition_index: {"pose": None, "ctf": None} for t in series.tilts})
    posed = truth.with_true_ctfs(truth.with_true_poses(bare))
    for tilt in posed.tilts:
        assert tilt.pose == truth.tilt(tilt.acquisition_index).pose
        assert tilt.ctf.defocus_angstrom == pytest.approx(truth.tilt(tilt.acquisition_index).defocus_angstrom)


def test_a_phase_shift_is_kept_below_half_a_turn(truth):
    tilt = truth.tilts[0].model_copy(update={"phase_shift_deg": 200.0})
    assert tilt.ctf.phase_shift_deg == pytest.approx(20.0)
