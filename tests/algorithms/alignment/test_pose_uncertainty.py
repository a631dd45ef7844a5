"""The reported error of poses covers what halves of the tracks share."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import pose_distances, pose_errors
from cryoloom.algorithms.alignment.pose_uncertainty import (
    SHARED_PART,
    THICKNESS_ANGSTROM,
    TILT_ERROR_DEG,
    axis_error_of_tracks,
    errors_at_height,
    half_thickness,
    reported_errors,
)
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.transmitted_thickness import TransmittedThickness

TILTS = np.arange(-60.0, 61.0, 4.0)
NOMINAL = SeriesGeometry.start(TILTS, 85.0)
FREE = DegreesOfFreedom()
SPECIMEN = np.array([900.0, 900.0, 600.0])


def solved(truth, rng, noise=0.5, n=20):
    points = rng.uniform(-1, 1, (n, 3)) * SPECIMEN
    table = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(table + rng.normal(0, noise, table.shape))
    return tracks, adjust_bundle(tracks, NOMINAL, FREE)


def test_errors_of_the_stages_tilt_are_covered_though_no_track_shows_them():
    """Tilts are 0.1 degree off, and fixed: halves agree to 0.2 A where poses are 1 A off."""
    within, by_halves = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        truth = SeriesGeometry.start(TILTS + rng.normal(0, TILT_ERROR_DEG, len(TILTS)), 85.0)
        tracks, solution = solved(truth, rng)
        halves = pose_errors(tracks, solution.geometry, FREE)
        reported = reported_errors("beads", tracks, solution, halves, tilts_are_solved=False)
        specimen = rng.uniform(-1, 1, (200, 3)) * SPECIMEN
        true = pose_distances(truth, solution.geometry, specimen, np.ones(len(TILTS), dtype=bool))
        within.append(np.mean(true <= reported))
        by_halves.append(np.mean(true <= halves))
    assert np.mean(by_halves) < 0.4
    assert 0.55 < np.mean(within) < 0.85  # 68 %, of 186 tilts


def test_a_view_whose_tracks_fit_worse_is_believed_less(rng):
    truth = NOMINAL
    points = rng.uniform(-1, 1, (40, 3)) * SPECIMEN
    table = truth.project(points).transpose(1, 0, 2)
    noise = np.where(TILTS > 50, 8.0, 2.0)
    tracks = Tracks.from_table(table + rng.normal(0, 1, table.shape) * noise[None, :, None])
    solution = adjust_bundle(tracks, NOMINAL, FREE)
    none = np.zeros(len(TILTS))
    reported = reported_errors("patches", tracks, solution, none, tilts_are_solved=True, axis_error_deg=0.0)
    residual = solution.view_residuals_angstrom(tracks)[0]
    np.testing.assert_allclose(reported, SHARED_PART["patches"] * residual)
    assert reported[TILTS > 50].min() > 2 * reported[TILTS < 50].max()


def test_errors_of_the_axis_and_of_the_drift_are_added(rng):
    tracks, solution = solved(NOMINAL, rng)
    none = np.zeros(len(TILTS))

    def reported(**how):
        return reported_errors("patches", tracks, solution, none, tilts_are_solved=True, **how)

    alone = reported(axis_error_deg=0.0)
    np.testing.assert_allclose(reported(axis_error_deg=0.0, drift_angstrom=3 * alone), np.sqrt(10) * alone)
    # A point x from the axis moves along it by x (1 - cos t) times the angle, less a motion.
    turned = np.sqrt(reported(axis_error_deg=1.0) ** 2 - alone**2)
    points = solution.points_xyz_angstrom
    off = pose_distances(NOMINAL, NOMINAL.with_axis_turned(1.0), points, np.ones(len(TILTS), dtype=bool))
    np.testing.assert_allclose(turned, off, rtol=0.1)
    assert turned[TILTS == 60] > 2 * turned[TILTS == 28]
    assert 2.0 < turned[TILTS == 60] < 10.0  # 700 A rms, 0.017 and a half


@pytest.mark.parametrize("method", list(SHARED_PART))
def test_what_halves_cannot_tell_stays_unknown(rng, method):
    tracks, solution = solved(NOMINAL, rng, n=3)
    halves = np.full(len(TILTS), np.nan)
    assert np.isnan(reported_errors(method, tracks, solution, halves, tilts_are_solved=False)).all()


def on_a_surface(seed, reach_deg=36.0):
    """Gold on one plane, tilts 0.1 degree off, and ice whose middle is 700 A below the gold."""
    rng = np.random.default_rng(seed)
    tilts = np.linspace(-reach_deg, reach_deg, 31)
    truth = SeriesGeometry.start(tilts + rng.normal(0, TILT_ERROR_DEG, 31), 85.0)
    points = rng.uniform(-1, 1, (15, 3)) * [900.0, 900.0, 10.0]
    points -= points.mean(axis=0)
    table = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(table + rng.normal(0, 0.5, table.shape))
    solution = adjust_bundle(tracks, SeriesGeometry.start(tilts, 85.0), FREE)
    specimen = rng.uniform(-1, 1, (200, 3)) * [900.0, 900.0, 600.0] + [0.0, 0.0, -700.0]
    true = pose_distances(truth, solution.geometry, specimen, np.ones(31, dtype=bool))
    return tracks, solution, true


def test_a_specimen_far_from_its_gold_moves_by_errors_that_no_bead_shows():
    without, within = [], []
    for seed in range(8):
        tracks, solution, true = on_a_surface(seed)
        halves = pose_errors(tracks, solution.geometry, FREE)
        near = reported_errors("beads", tracks, solution, halves, tilts_are_solved=False)
        far = errors_at_height(
            near, "beads", tracks, solution, -700.0, tilts_are_solved=False, axis_is_solved=True
        )
        without.append(np.mean(true <= near))
        within.append(np.mean(true <= far))
    assert np.mean(without) < 0.5
    assert 0.58 < np.mean(within) < 0.8  # 68 %, of 248 tilts


def test_gold_on_one_plane_is_a_surface_where_the_middle_was_not_found():
    none = np.zeros(31)

    def added(tracks, solution, method, height):
        return errors_at_height(
            none, method, tracks, solution, height, tilts_are_solved=False, axis_is_solved=False
        )

    tracks, solution, _ = on_a_surface(0)
    of_surface = added(tracks, solution, "beads", None)
    usual = half_thickness(None)
    np.testing.assert_allclose(of_surface, added(tracks, solution, "beads", usual))
    np.testing.assert_allclose(of_surface[15], np.deg2rad(TILT_ERROR_DEG) * usual)
    assert (added(tracks, solution, "features", None) == 0).all()
    tracks, solution = solved(NOMINAL, np.random.default_rng(0))
    deep = errors_at_height(
        np.zeros(len(TILTS)), "beads", tracks, solution, None, tilts_are_solved=False, axis_is_solved=False
    )
    assert (deep == 0).all()


def test_transmitted_electrons_tell_how_far_from_its_gold_a_specimen_may_lie():
    usual = half_thickness(None)
    assert THICKNESS_ANGSTROM / 2 < usual < THICKNESS_ANGSTROM
    assert half_thickness(TransmittedThickness(2400.0, 200.0)) == pytest.approx(1200, rel=0.1)
    assert half_thickness(TransmittedThickness(500.0, 100.0)) == pytest.approx(250, rel=0.15)
    assert half_thickness(TransmittedThickness(2400.0, 1e5)) == pytest.approx(usual, rel=1e-3)


@pytest.mark.parametrize("reach_deg", [15.0, 36.0, 60.0])
def test_the_error_of_the_axis_is_what_its_scatter_shows(reach_deg):
    told, off = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        truth = SeriesGeometry.start(np.linspace(-reach_deg, reach_deg, 21), 85.0)
        points = rng.uniform(-1, 1, (15, 3)) * [900.0, 900.0, 10.0]
        table = truth.project(points).transpose(1, 0, 2)
        tracks = Tracks.from_table(table + rng.normal(0, 2.0, table.shape))
        solution = adjust_bundle(tracks, truth, FREE)
        told.append(axis_error_of_tracks(tracks, solution))
        off.append(solution.geometry.mean_axis_deg - 85.0)
    rms = np.sqrt(np.mean(np.square(off)))
    assert 0.6 < np.sqrt(np.mean(np.square(told))) / rms < 1.6  # 12 draws tell a deviation to 20 %
