import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.stage import frame_motion, local_motion, nominal_tilts_deg, tilt_truths


def params(**changes):
    return SimulationParams(**{"tilt_min_deg": -12, "tilt_max_deg": 12, **changes})


def test_dose_symmetric_order():
    assert_allclose(nominal_tilts_deg(params()), [0, 3, -3, -6, 6, 9, -9, -12, 12])


def test_dose_symmetric_order_of_an_uneven_range():
    tilts = nominal_tilts_deg(params(tilt_min_deg=-3, tilt_max_deg=9))
    assert sorted(tilts) == [-3, 0, 3, 6, 9]
    assert tilts[0] == 0


def test_other_orders():
    assert_allclose(nominal_tilts_deg(params(scheme="continuous")), np.arange(-12, 13, 3))
    assert_allclose(nominal_tilts_deg(params(scheme="bidirectional")), [0, 3, 6, 9, 12, -3, -6, -9, -12])


def test_drift_decays_and_is_relative_to_its_mean(rng):
    still = params(jitter_angstrom=0.0, n_frames=8)
    many = np.array([frame_motion(still, rng).positions_yx_angstrom for _ in range(500)])
    assert_allclose(many.mean(axis=1), 0, atol=1e-12)
    steps = np.hypot(*np.moveaxis(np.diff(many, axis=1), -1, 0)).mean(axis=0)
    assert (np.diff(steps) < 0).all()
    # The whole drift has an rms length of motion_angstrom; frames see it from the middle of the first on.
    travelled = np.sqrt(((many[:, -1] - many[:, 0]) ** 2).sum(axis=1).mean())
    time = np.array([0.5, 7.5]) / 8
    expected = 3.0 * -np.diff(np.exp(-time / 0.35))[0]
    assert travelled == pytest.approx(expected, rel=0.1)


def test_dose_follows_acquisition_and_flaws_are_reported(rng):
    tilts = tilt_truths(params(dark_tilts=(2,), shifted_tilts=(3,), blurred_tilts=(4,)), rng)
    assert_allclose([t.dose_start_per_angstrom2 for t in tilts], 3.0 * np.arange(9))
    assert [t.flaw for t in tilts] == ["", "", "dark", "shifted", "blurred", "", "", "", ""]
    assert np.hypot(*tilts[3].shift_xy_angstrom) > 700
    assert [bool(np.any(t.vibration_yx_angstrom)) for t in tilts] == [t.flaw == "blurred" for t in tilts]


def test_travel_within_frames_adds_up_to_the_drift(rng):
    motion = frame_motion(params(jitter_angstrom=0.0, n_frames=8), rng)
    positions, travel = motion.positions_yx_angstrom, motion.travel_yx_angstrom
    # Between the middles of two frames lie half of each; the drift is curved, so by a hundredth of it.
    between = 0.5 * (travel[1:] + travel[:-1])
    assert_allclose(between, np.diff(positions, axis=0), atol=0.03 * np.abs(travel).max())
    assert_allclose(motion.vibration_yx_angstrom, 0)


@pytest.mark.parametrize("kind", ["vibration", "drift"])
def test_a_blurred_exposure_moves_within_every_frame(rng, kind):
    motion = frame_motion(params(blur_angstrom=80.0, blur_kind=kind, motion_angstrom=0.0), rng, blurred=True)
    gliding = np.hypot(*np.diff(motion.positions_yx_angstrom, axis=0).T)
    if kind == "vibration":
        assert np.hypot(*motion.vibration_yx_angstrom) == pytest.approx(40.0)
        assert gliding.max() < 3.0  # jitter of 0.25 A is all that moves frames
    else:
        assert_allclose(np.hypot(*motion.travel_yx_angstrom.T), 80.0)
        assert_allclose(gliding, 80.0, atol=3.0)


def test_transmission_falls_with_the_path(rng):
    tilts = tilt_truths(params(tilt_error_rms_deg=0, pretilt_x_deg=0, pretilt_y_deg=0), rng)
    for tilt in tilts:
        path = 1200.0 / np.cos(np.deg2rad(tilt.nominal_tilt_deg))
        assert tilt.transmission == pytest.approx(np.exp(-path / 3100.0))


def test_local_motion_has_the_size_asked_for_and_settles_with_dose(rng):
    seen = params(local_motion_angstrom=4.0, n_frames=40)
    y = x = np.linspace(-1, 1, 41)
    for dose, share in ((0.0, 1.0), (10.0, (1 + 2 * np.exp(-1)) / 3)):
        motion = local_motion(seen, rng, dose)
        fields = np.array([motion.displacement_yx_angstrom(i, y, x) for i in (0, 20, 39)])
        assert_allclose(np.sum(motion.course), 0, atol=1e-9)
        assert_allclose(fields.mean(axis=(1, 2)), 0, atol=0.1)  # the mean over the field is the frame's own
        travelled = np.sqrt(((fields[2] - fields[0]) ** 2).sum(axis=-1).mean())
        # Frames see it from the middle of the first to that of the last; samples at +-1 count too much.
        assert travelled == pytest.approx(4.0 * share, rel=0.15)


def test_no_local_motion_is_an_option(rng):
    assert local_motion(params(local_motion_angstrom=0.0), rng, 0.0) is None
    assert all(t.local_motion is not None for t in tilt_truths(params(), rng))
