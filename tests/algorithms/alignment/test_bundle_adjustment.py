"""Bundle adjustment against known geometry, with noise, gaps and outliers."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom, geometry_of, jacobians
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from makers.known_tracks import TILTS, known_tracks


def test_exact_tracks_give_the_geometry_back(rng):
    truth, points, tracks = known_tracks(rng)
    solution = adjust_bundle(tracks, SeriesGeometry.start(TILTS, 80.0))
    assert_allclose(solution.geometry.axis_deg, truth.axis_deg, atol=1e-3)
    assert solution.residual_angstrom.max() < 0.01
    # The gauge: points centred on their mean.
    assert_allclose(solution.points_xyz_angstrom, points - points.mean(axis=0), atol=0.1)


def test_outliers_and_gaps_are_borne(rng):
    truth, _, tracks = known_tracks(rng, noise_angstrom=3.0, outliers=0.1, gaps=0.2)
    solution = adjust_bundle(tracks, SeriesGeometry.start(TILTS, 80.0))
    # 3 A over a lever of 1000 A and 400 observations: 0.05 deg is three deviations.
    assert abs(solution.geometry.mean_axis_deg - truth.mean_axis_deg) < 0.05
    assert solution.mean_residual_angstrom(tracks) < 4.5
    far = solution.residual_angstrom > 50
    assert (solution.robust_weight[far] == 0).all()


def test_a_view_without_points_keeps_its_start(rng):
    _, _, tracks = known_tracks(rng, noise_angstrom=1.0)
    start = SeriesGeometry.start(TILTS, 84.0)
    solution = adjust_bundle(tracks.select(tracks.view != 3), start)
    residual, counts = solution.view_residuals_angstrom(tracks.select(tracks.view != 3))
    assert counts[3] == 0
    assert np.isnan(residual[3])
    assert np.isfinite(solution.geometry.shift_xy_angstrom).all()


@pytest.mark.parametrize("name", ["tilt", "magnification", "stretch"])
def test_variables_are_found_when_free(rng, name):
    truth, points, _ = known_tracks(rng)
    wave = np.sin(np.arange(len(TILTS)) / 3)
    change = {"tilt": 0.5, "magnification": 0.004, "stretch": 0.004}[name] * wave
    fields = {"tilt": "tilt_deg", "magnification": "magnification", "stretch": "stretch"}
    values = {
        f: getattr(truth, f)
        for f in ("axis_deg", "tilt_deg", "shift_xy_angstrom", "magnification", "stretch")
    }
    values[fields[name]] = values[fields[name]] + change
    bent = SeriesGeometry(
        values["axis_deg"],
        values["tilt_deg"],
        values["shift_xy_angstrom"],
        magnification=values["magnification"],
        stretch=values["stretch"],
    )
    tracks = Tracks.from_table(bent.project(points).transpose(1, 0, 2))
    start = SeriesGeometry.start(TILTS, 84.0)
    rigid = adjust_bundle(tracks, start)
    free = adjust_bundle(tracks, start, DegreesOfFreedom(**{name: "per_view"}))
    assert free.residual_angstrom.mean() < 0.05 * rigid.residual_angstrom.mean()
    assert free.geometry.magnification[np.argmin(np.abs(TILTS))] == pytest.approx(1.0)


def test_imods_bead_problem_is_solved_as_well_as_imod_does(data):
    from cryoloom.formats.imod.fiducials import read_resid

    problem = read_resid(data / "imod/BB/BBa.resid")
    n_views, n_points = problem.view.max() + 1, problem.track.max() + 1
    position = problem.position_xy_px - 256.0
    tracks = Tracks(problem.view, problem.track, position, np.ones(len(position)), n_views, n_points)
    start = SeriesGeometry.start(65.0 - 2.0 * np.arange(n_views), -12.5)
    free = DegreesOfFreedom("per_view", "grouped", "fixed", "per_view", "grouped", "grouped")
    solution = adjust_bundle(tracks, start, free)
    assert problem.mean_residual_px == pytest.approx(0.3129, abs=1e-4)
    assert solution.residual_angstrom.mean() < 0.315
    # IMOD's transforms turn by -axis: 11.4 degrees on average.
    assert solution.geometry.mean_axis_deg == pytest.approx(-11.4, abs=0.2)


def test_jacobians_are_the_differences_of_projections(rng):
    n = len(TILTS)
    parameters = np.column_stack(
        [*rng.normal(0, 30, (2, n)), *rng.normal(0, 0.1, (7, n))]
    )  # shifts in angstrom; angles, logarithm and fractions of all kinds
    parameters[:, 3] += np.deg2rad(TILTS)
    points = rng.normal(0, 300, (6, 3))
    table = geometry_of(parameters).project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(table)
    by_view, by_point = jacobians(tracks, geometry_of(parameters), points)
    for k in range(parameters.shape[1]):
        step = 1e-5
        moved = parameters.copy()
        moved[:, k] += step
        found = (geometry_of(moved).project(points).transpose(1, 0, 2) - table) / step
        assert_allclose(by_view[:, :, k], found[tracks.point, tracks.view], atol=0.05 if k > 1 else 1e-4)
    for k in range(3):
        moved_points = points + 1e-3 * np.eye(3)[k]
        found = (geometry_of(parameters).project(moved_points).transpose(1, 0, 2) - table) / 1e-3
        assert_allclose(by_point[:, :, k], found[tracks.point, tracks.view], atol=1e-6)


def test_a_beam_tilt_is_found_and_given_as_ordinary_poses(rng):
    straight, points, _ = known_tracks(rng)
    bent = replace(straight, beam_tilt_deg=np.full(len(TILTS), 0.6))
    tracks = Tracks.from_table(bent.project(points).transpose(1, 0, 2))
    solution = adjust_bundle(tracks, SeriesGeometry.start(TILTS, 84.0), DegreesOfFreedom(beam_tilt="one"))
    assert_allclose(solution.geometry.beam_tilt_deg, 0.6, atol=0.01)
    plain = solution.geometry.without_beam_tilt()
    assert not plain.beam_tilt_deg.any()
    assert_allclose(plain.matrices, solution.geometry.matrices, atol=1e-12)
