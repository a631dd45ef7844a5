"""A point is seen at the same place whatever frame it is described in."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.series.specimen_frame import (
    handedness_in,
    height_of_slab,
    pose_from_frame,
    series_from_frame,
    series_in_slab,
    series_moved,
    with_defocus_at_origin,
    with_defocus_of_specimen,
    with_middle_at_origin,
    with_slab,
)
from cryoloom.geometry.projection import beam_coordinate
from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model import Ctf, Microscope, Pose, Slab, Sourced, Tilt, TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series


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
def test_defocus_is_given_at_the_new_origin(handedness):
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


def measured_slab(z_offset, tilt_x, tilt_y):
    values = {"z_offset_angstrom": z_offset, "tilt_x_deg": tilt_x, "tilt_y_deg": tilt_y}
    return Slab(**{name: Sourced(measured=value) for name, value in values.items()})


@pytest.fixture(scope="module", params=[1, -1])
def seen_by_its_rings(request):
    """A series off its axis, with the defocus its rings would show, by the simulator's own geometry."""
    params = SimulationParams(
        image_shape_yx=(64, 64),
        n_particles=0,
        n_vesicles=0,
        n_membranes=0,
        n_beads=0,
        tilt_step_deg=20.0,
        z_offset_angstrom=-640.0,
        pretilt_x_deg=2.0,
        pretilt_y_deg=-9.0,
        shift_rms_angstrom=300.0,
        handedness=request.param,
    )
    series, truth = simulate_tilt_series(params)
    changes = {}
    for tilt in truth.tilts:
        lower = truth.defocus_of_ice_angstrom(tilt.acquisition_index) - tilt.ctf.defocus_angstrom
        ctf = replace(
            tilt.ctf,
            defocus_u_angstrom=tilt.ctf.defocus_u_angstrom + lower,
            defocus_v_angstrom=tilt.ctf.defocus_v_angstrom + lower,
            refers_to="specimen",
        )
        changes[tilt.acquisition_index] = {"ctf": ctf, "pose": tilt.pose}
    handed = replace(series.with_tilts(changes), handedness=Sourced(applied=float(request.param)))
    return replace(handed, slab=measured_slab(-640.0, 2.0, -9.0)), truth


def defoci(series):
    return np.array([tilt.ctf.defocus_angstrom for tilt in series.tilts])


def test_rings_of_the_specimen_give_the_true_defocus_of_the_origin(seen_by_its_rings):
    series, truth = seen_by_its_rings
    true = np.array([truth.tilt(t.acquisition_index).defocus_angstrom for t in series.tilts])
    assert np.abs(defoci(series) - true).max() > 600  # what is at stake
    at_origin = with_defocus_at_origin(series)
    np.testing.assert_allclose(defoci(at_origin), true, atol=0.1)
    assert {tilt.ctf.refers_to for tilt in at_origin.tilts} == {"origin"}
    assert with_defocus_at_origin(at_origin).tilts == at_origin.tilts
    back = with_defocus_of_specimen(at_origin)
    np.testing.assert_allclose(defoci(back), defoci(series), atol=1e-6)


def test_the_origin_moved_into_the_middle_has_the_defocus_of_that_point(seen_by_its_rings):
    series, truth = seen_by_its_rings
    for placed in (
        with_middle_at_origin(with_defocus_at_origin(series)),
        with_defocus_at_origin(with_middle_at_origin(series)),
    ):
        assert placed.slab.plane[0] == pytest.approx(0, abs=1e-9)
        for tilt in placed.tilts:
            true = truth.tilt(tilt.acquisition_index)
            depth = beam_coordinate([[0.0, 0.0, -640.0]], true.pose.matrix[None])[0, 0]
            expected = true.defocus_angstrom - truth.handedness * depth
            assert tilt.ctf.defocus_angstrom == pytest.approx(expected, abs=0.1)
        flat = series_in_slab(placed)
        assert flat.slab.is_applied
        np.testing.assert_allclose(defoci(flat), defoci(placed), atol=1e-6)


def test_the_defocus_follows_poses_of_another_origin(seen_by_its_rings):
    series, truth = seen_by_its_rings
    placed = with_defocus_at_origin(series)
    poses = {t.acquisition_index: {"pose": pose_from_frame(t.pose, (50.0, 0.0, 300.0))} for t in placed.tilts}
    # The middle plane where x = 50 and y = 0, above the new origin.
    height = series.slab.plane[0] + 50.0 * series.slab.plane[1] - 300.0
    specimen = with_defocus_of_specimen(placed)
    other = with_slab(specimen.with_tilts(poses), measured_slab(height, 2.0, -9.0))
    for tilt in other.tilts:
        true = truth.tilt(tilt.acquisition_index)
        depth = beam_coordinate([[50.0, 0.0, 300.0]], true.pose.matrix[None])[0, 0]
        expected = true.defocus_angstrom - truth.handedness * depth
        assert tilt.ctf.defocus_angstrom == pytest.approx(expected, abs=0.1)


def test_without_a_handedness_or_poses_a_defocus_stays_that_of_the_specimen(seen_by_its_rings):
    series, _ = seen_by_its_rings
    unknown = replace(series, handedness=Sourced())
    assert with_defocus_at_origin(unknown).tilts == series.tilts
    unmeasured = replace(series, slab=None)
    assert with_defocus_at_origin(unmeasured).tilts == series.tilts
    assumed = with_defocus_at_origin(unmeasured, assume_centred=True)
    assert {tilt.ctf.refers_to for tilt in assumed.tilts} == {"origin"}
    no_poses = series.with_tilts({t.acquisition_index: {"pose": None} for t in series.tilts})
    assert with_defocus_at_origin(no_poses).tilts == no_poses.tilts


def test_what_is_moved_keeps_its_images_its_slab_and_its_defocus(seen_by_its_rings):
    series, _ = seen_by_its_rings
    placed = with_defocus_at_origin(series)
    moved = series_moved(placed, 70.0, 4.0)
    for before, after in zip(placed.tilts, moved.tilts, strict=True):
        assert after.pose.tilt_deg - before.pose.tilt_deg == pytest.approx(4.0, abs=0.1)
    # Points of the slab's middle plane, shown 70 higher and turned, lie on the new one.
    a, b, c = placed.slab.plane
    xy = np.array([[0.0, 0.0], [900.0, -300.0], [-500.0, 800.0]])
    points = np.column_stack([xy, a + xy @ [b, c]])
    shown = (points + np.array([0.0, 0.0, 70.0])) @ rotation_y(4.0)
    a, b, c = moved.slab.plane
    np.testing.assert_allclose(shown[:, 2], a + shown[:, :2] @ [b, c], atol=1e-6)
    for before, after in zip(placed.tilts, moved.tilts, strict=True):
        np.testing.assert_allclose(seen(after.pose, shown[1]), seen(before.pose, points[1]), atol=1e-6)
    # Rings show the same of it.
    np.testing.assert_allclose(
        defoci(with_defocus_of_specimen(moved)), defoci(with_defocus_of_specimen(placed)), atol=1e-6
    )
    assert series_moved(placed, 0.0, 0.0) is placed


def test_a_volume_that_holds_the_slab():
    slab = measured_slab(-150.0, 0.0, 10.0)
    slab = replace(slab, thickness_angstrom=Sourced(measured=1000.0))
    slope = np.tan(np.deg2rad(10.0))
    expected = 2 * (150 + slope * 2000 + 500 / np.cos(np.deg2rad(10.0)))
    assert height_of_slab(slab, 3000.0, 4000.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("axis", "sign", "hand"),
    [(88.0, 1, 1.0), (-95.0, 1, -1.0), (85.0, -1, -1.0), (-95.0, -1, 1.0), (180.0, 1, 1.0)],
)
def test_the_handedness_follows_the_direction_of_the_poses(axis, sign, hand):
    """Half a turn of the axis mirrors, and so do angles of the other sign; a quarter turn tells nothing."""
    angles = np.arange(-50.0, 51.0, 10.0)
    before = TiltSeries(
        "a",
        Microscope(),
        2.7,
        tuple(Tilt(i, angle, 3.0 * i, 3.0 * i + 3.0) for i, angle in enumerate(angles)),
        tilt_axis_deg=Sourced.from_told(85.0, "mdoc"),
        handedness=Sourced().with_measured(1.0, "estimate_ctf", apply=True),
    )
    posed = before.with_tilts(
        {t.acquisition_index: {"pose": Pose(axis, sign * t.nominal_tilt_deg + 3.0)} for t in before.tilts}
    )
    found = handedness_in(posed, before)
    assert (found.applied, found.measured, found.measured_by) == (hand, hand, "estimate_ctf")


def test_the_handedness_stays_where_no_direction_is_known():
    tilt = Tilt(0, 40.0, 0.0, 3.0)
    before = TiltSeries("a", Microscope(), 2.7, (tilt,), handedness=Sourced.from_told(-1.0, "user"))
    posed = before.with_tilts({0: {"pose": Pose(85.0, 40.0)}})
    assert handedness_in(posed, before) == before.handedness
