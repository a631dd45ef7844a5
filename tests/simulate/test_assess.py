from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.transform import Rotation

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Microscope, Pose, Tilt, TiltSeries
from cryoloom.simulate.assess import (
    alignment_error_angstrom,
    axis_error_deg,
    defocus_errors_angstrom,
    defocus_errors_at_origin_angstrom,
    frame_shift_errors_angstrom,
)
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.stage import tilt_truths
from cryoloom.simulate.truth import Truth


@pytest.fixture
def truth(rng):
    params = SimulationParams(tilt_min_deg=-60, tilt_max_deg=60, tilt_step_deg=12)
    return Truth(
        series="TS_01",
        seed=1,
        pixel_size_angstrom=5.0,
        image_shape_yx=(512, 720),
        tilts=tilt_truths(params, rng),
        tilt_axis_deg=params.tilt_axis_deg,
        told_axis_deg=params.tilt_axis_deg,
        handedness=1,
        thickness_angstrom=1200.0,
        z_offset_angstrom=80.0,
        pretilt_x_deg=0.8,
        pretilt_y_deg=-2.5,
        particles=(),
        beads_xyz_angstrom=np.zeros((0, 3)),
        bead_diameter_angstrom=100.0,
        vesicles_xyz_angstrom=np.zeros((0, 3)),
    )


@pytest.fixture
def series(truth):
    tilts = tuple(
        Tilt(
            t.acquisition_index, t.nominal_tilt_deg, t.dose_start_per_angstrom2, t.dose_end_per_angstrom2,
            pose=t.pose, ctf=t.ctf, frame_shifts_yx_angstrom=t.frame_shifts_yx_angstrom,
        )
        for t in truth.tilts
    )  # fmt: skip
    return TiltSeries("TS_01", Microscope(), 5.0, tilts)


def test_points_fill_the_ice_seen_untilted(truth, rng):
    points = truth.random_specimen_points(rng, 500)
    in_ice = (points - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
    assert np.abs(in_ice[:, 2]).max() <= 600.001
    least = truth.tilts[0]
    image = points @ least.pose.matrix[:2].T + least.shift_xy_angstrom
    assert np.abs(image[:, 0]).max() <= 1800
    assert np.abs(image[:, 1]).max() <= 1280
    assert image[:, 0].std() == pytest.approx(3600 / np.sqrt(12), rel=0.1)


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


def test_defocus_of_the_ice_at_the_image_centre(truth, series):
    for tilt in truth.tilts:
        # A point of the ice's middle plane that falls on the image's centre has that defocus.
        w = tilt.defocus_angstrom - truth.defocus_of_ice_angstrom(tilt.acquisition_index)
        point = tilt.pose.matrix.T @ np.array([*(-np.array(tilt.shift_xy_angstrom)), w])
        in_ice = (point - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
        assert in_ice[2] == pytest.approx(0, abs=1e-9)
    errors = defocus_errors_angstrom(truth, series, at="ice")
    assert errors[0] == pytest.approx(truth.tilts[0].defocus_angstrom - truth.defocus_of_ice_angstrom(0))


def test_a_missing_pose_is_told(truth, series, rng):
    tilts = (replace(series.tilts[0], pose=None), *series.tilts[1:])
    with pytest.raises(DataUnfitError, match="needs a pose"):
        alignment_error_angstrom(truth, replace(series, tilts=tilts), truth.random_specimen_points(rng, 10))


def test_truth_survives_its_file(truth, tmp_path):
    truth.save(tmp_path / "truth.json")
    back = Truth.load(tmp_path / "truth.json")
    assert back.tilts == truth.tilts
    assert back.tilts[0].pose == Pose(
        truth.tilts[0].axis_deg, truth.tilts[0].tilt_deg, 0.0, truth.tilts[0].shift_xy_angstrom
    )


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
