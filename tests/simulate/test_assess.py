from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf
from cryoloom.simulate.assess import (
    alignment_error_angstrom,
    axis_error_deg,
    defocus_errors_angstrom,
    defocus_errors_at_origin_angstrom,
    frame_shift_errors_angstrom,
)
from makers.simulated_truth import series, truth

__all__ = ["series", "truth"]


def test_the_truth_has_no_error(truth, series, rng):
    points = truth.random_specimen_points(rng, 100)
    assert alignment_error_angstrom(truth, series, points).rms_angstrom < 1e-6
    assert axis_error_deg(truth, series) == pytest.approx(0)
    assert max(frame_shift_errors_angstrom(truth, series).values()) == pytest.approx(0)
    assert_allclose(list(defocus_errors_angstrom(truth, series).values()), 0)


def test_a_rigid_motion_of_the_specimen_is_no_error(truth, series, rng):
    # image = s + M r with r = R q + t: poses M R do it for q, expressed through another tilt of the slab.
    turn, move = Rotation.from_euler("y", 4.0, degrees=True).as_matrix(), np.array([30.0, -70.0, 90.0])
    moved = []
    for tilt in series.tilts:
        shift = np.array(tilt.pose.shift_xy_angstrom) + (tilt.pose.matrix @ move)[:2]
        pose = replace(tilt.pose, tilt_deg=tilt.pose.tilt_deg + 4.0, shift_xy_angstrom=tuple(shift))
        moved.append(replace(tilt, pose=pose))
    found = alignment_error_angstrom(
        truth, replace(series, tilts=tuple(moved)), truth.random_specimen_points(rng, 100)
    )
    assert found.rms_angstrom < 1e-4
    assert_allclose(found.rotation, turn.T, atol=1e-6)


def test_a_tilts_own_shift_is_an_error(truth, series, rng):
    shift = series.tilts[0].pose.shift_xy_angstrom
    wrong = replace(series.tilts[0].pose, shift_xy_angstrom=(shift[0] + 40.0, shift[1]))
    tilts = (replace(series.tilts[0], pose=wrong), *series.tilts[1:])
    found = alignment_error_angstrom(
        truth, replace(series, tilts=tilts), truth.random_specimen_points(rng, 100)
    )
    # One of eleven is off by 40 A: at most 40 / sqrt(11), and not much of it can be turned away.
    assert 9 < found.rms_angstrom < 12.1
    assert found.per_tilt_angstrom[series.tilts[0].acquisition_index] > 30


@pytest.mark.parametrize("height", [-1800.0, 60.0, 1800.0])
def test_a_robust_comparison_finds_another_origin_and_names_the_tilts_that_are_off(
    height, truth, series, rng
):
    """Beads below thick ice put the origin a thousand angstrom away; three tilts are wrong besides."""
    wrong, moved = {0, 4, 9}, []
    for i, tilt in enumerate(series.tilts):
        shift = np.array(tilt.pose.shift_xy_angstrom) - (tilt.pose.matrix @ [20.0, -40.0, height])[:2]
        shift += 500.0 if i in wrong else 0.0
        moved.append(replace(tilt, pose=replace(tilt.pose, shift_xy_angstrom=tuple(shift))))
    found = alignment_error_angstrom(
        truth, replace(series, tilts=tuple(moved)), truth.random_specimen_points(rng, 100), robust=True
    )
    # Cauchy's loss gives 500 A a pull of 10 A / 50 = 0.2 A each.
    assert {
        i for i, t in enumerate(series.tilts) if found.per_tilt_angstrom[t.acquisition_index] > 5
    } == wrong
    assert found.translation_xyz_angstrom[2] == pytest.approx(height, abs=20)


def test_frame_shifts_of_fractions_are_compared_with_means_over_them(truth, series):
    true = np.array(truth.tilts[0].frame_shifts_yx_angstrom)
    pairs = true.reshape(-1, 2, 2).mean(axis=1)
    tilt = replace(series.tilts[0], frame_shifts_yx_angstrom=tuple(map(tuple, pairs + 3.0)))
    errors = frame_shift_errors_angstrom(truth, replace(series, tilts=(tilt,)))
    assert errors[0] == pytest.approx(0, abs=1e-12)


def test_defocus_error_is_signed(truth, series):
    tilt = replace(series.tilts[3], ctf=Ctf(35100.0, 34900.0, 0.0))
    true = truth.tilt(tilt.acquisition_index).defocus_angstrom
    errors = defocus_errors_angstrom(truth, replace(series, tilts=(tilt,)))
    assert errors == {tilt.acquisition_index: pytest.approx(35000.0 - true)}


def test_a_missing_pose_is_reported(truth, series, rng):
    tilts = (replace(series.tilts[0], pose=None), *series.tilts[1:])
    with pytest.raises(DataUnfitError, match="needs a pose"):
        alignment_error_angstrom(truth, replace(series, tilts=tilts), truth.random_specimen_points(rng, 10))


@pytest.mark.parametrize("turn", [0.0, 180.0])
@pytest.mark.parametrize("depth", [0.0, 400.0])
def test_the_defocus_at_another_origin_is_compared_there(truth, series, turn, depth):
    """Poses of the specimen or its mirror image, axis within a turn, from an origin that lies deeper."""
    changes = {}
    for tilt in series.tilts:
        beam = float((tilt.pose.matrix @ [0.0, 0.0, -depth])[2])
        x, y = np.array(tilt.pose.shift_xy_angstrom) + (tilt.pose.matrix @ [0.0, 0.0, -depth])[:2]
        true = tilt.ctf.defocus_angstrom - truth.handedness * beam
        changes[tilt.acquisition_index] = {
            "pose": replace(tilt.pose, axis_deg=tilt.pose.axis_deg + turn, shift_xy_angstrom=(x, y)),
            "ctf": Ctf(true + 100.0, true, 0.0, refers_to="origin"),
        }
    errors = defocus_errors_at_origin_angstrom(truth, series.with_tilts(changes))
    assert_allclose(list(errors.values()), 50.0, atol=1e-3)
    assert len(errors) == len(series.tilts)
