"""Stretch and skew: solved from tracks, and carried by poses as displacements."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import left_out_errors
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.view_distortion import with_distortions
from cryoloom.model import ImageWarp, Pose

TILTS = np.arange(-60.0, 61.0, 4.0)
EXTENT = (4000.0, 3600.0)


def distorted_truth(rng, stretch=0.006, skew=0.01):
    """A specimen that shrinks and shears with the dose of a dose-symmetric series.

    What goes with the tilt angle itself would be a specimen of other heights.
    """
    course = np.abs(TILTS) / 60.0
    return SeriesGeometry(
        np.full(len(TILTS), 85.3),
        TILTS,
        rng.normal(0, 60, (len(TILTS), 2)),
        stretch=stretch * course,
        skew=skew * course,
    )


def poses_of(geometry, warps):
    rows = zip(
        geometry.axis_deg,
        geometry.tilt_deg,
        geometry.x_tilt_deg,
        geometry.shift_xy_angstrom,
        warps,
        strict=True,
    )
    return [Pose(axis, tilt, x, tuple(shift), warp=warp) for axis, tilt, x, shift, warp in rows]


def seen_by(poses, points):
    seen = []
    for pose in poses:
        rigid = pose.magnification * (points @ pose.matrix[:2].T) + pose.shift_xy_angstrom
        seen.append(rigid if pose.warp is None else rigid + pose.warp.displacement(rigid))
    return np.array(seen)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_changing_skew_is_solved_and_carried(seed):
    """From tracks with noise to poses that see fresh points where the truth does."""
    rng = np.random.default_rng(seed)
    truth = distorted_truth(rng)
    beads = rng.uniform(-1, 1, (30, 3)) * [1500, 1500, 300]
    table = truth.project(beads).transpose(1, 0, 2) + rng.normal(0, 1.0, (30, len(TILTS), 2))
    tracks = Tracks.from_table(table)
    start = SeriesGeometry.start(TILTS, 84.0)
    plain = adjust_bundle(tracks, start, DegreesOfFreedom())
    free = DegreesOfFreedom(stretch="grouped", skew="grouped")
    solved = adjust_bundle(tracks, start, free)
    assert solved.residual_angstrom.mean() < 0.8 * plain.residual_angstrom.mean()
    # It predicts what it never saw, too.
    assert np.nanmedian(left_out_errors(tracks, start, free)) < np.nanmedian(
        left_out_errors(tracks, start, DegreesOfFreedom())
    )
    rise = np.polyfit(np.abs(TILTS) / 60.0, solved.geometry.skew, 1)[0]
    assert rise == pytest.approx(0.01, rel=0.35)  # a part goes with cos(tilt): that is another specimen
    warps = with_distortions(solved.geometry, EXTENT, [None] * len(TILTS))
    points = solved.points_xyz_angstrom
    apart = seen_by(poses_of(solved.geometry, warps), points) - solved.geometry.project(points)
    # s z sin(tilt): 0.006 * 300 A and the hundredths that controls are kept to.
    assert np.abs(apart).max() < 2.0
    rigid = seen_by(poses_of(solved.geometry, [None] * len(TILTS)), points)
    assert np.abs(rigid - solved.geometry.project(points)).max() > 3.0


def test_skew_without_x_tilt_is_exact_at_any_height(rng):
    truth = distorted_truth(rng, stretch=0.0, skew=0.02)
    points = rng.uniform(-1, 1, (50, 3)) * [1500, 1500, 1500]
    poses = poses_of(truth, with_distortions(truth, EXTENT, [None] * len(TILTS)))
    inside = np.all(np.abs(truth.project(points)) < np.array(EXTENT) / 2, axis=2)
    assert np.abs(seen_by(poses, points) - truth.project(points))[inside].max() < 0.03


def test_a_local_displacement_comes_after_it(rng):
    truth = distorted_truth(rng)
    local = ImageWarp.of_controls(rng.normal(0, 8, (3, 3, 2)), EXTENT)
    poses = poses_of(truth, with_distortions(truth, EXTENT, [local] * len(TILTS)))
    points = rng.uniform(-1, 1, (50, 3)) * [1500, 1500, 0]
    distorted = truth.project(points)
    wanted = np.array([each + local.displacement(each) for each in distorted])
    inside = np.all(np.abs(distorted) < np.array(EXTENT) / 2, axis=2)
    assert np.abs(seen_by(poses, points) - wanted)[inside].max() < 0.1


def test_a_skew_of_the_whole_series_is_another_specimen(rng):
    """The residual does not tell a common skew: points ``D r`` explain it."""
    truth = distorted_truth(rng, 0.0, 0.0)
    common = SeriesGeometry(
        truth.axis_deg, truth.tilt_deg, truth.shift_xy_angstrom, skew=np.full(len(TILTS), 0.03)
    )
    beads = rng.uniform(-1, 1, (12, 3)) * [1500, 1500, 300]
    tracks = Tracks.from_table(common.project(beads).transpose(1, 0, 2))
    assert adjust_bundle(tracks, truth, DegreesOfFreedom()).residual_angstrom.max() < 1e-6
