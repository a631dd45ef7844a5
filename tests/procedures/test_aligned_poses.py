"""Poses of every tilt from exact tracks: solved, interpolated where nothing was tracked, and refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.alignment.alignment_methods import Alignment
from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution
from cryoloom.algorithms.alignment.coarse_alignment import CoarseAlignment
from cryoloom.algorithms.alignment.tracks import Tracks, residuals
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.errors import DataUnfitError
from cryoloom.model import DecidedBy
from cryoloom.procedures.aligned_poses import LEAST_TILTS, with_poses
from makers.context import MemoryContext
from makers.made_series import make_series

N_TILTS, N_POINTS, AXIS_DEG = 9, 12, 85.0


@pytest.fixture
def series():
    return make_series(n_tilts=N_TILTS, shape_yx=(64, 64), step_deg=6.0)


def true_geometry(series):
    tilt = np.array([t.nominal_tilt_deg for t in series.tilts])
    shift = np.stack([3.0 * np.arange(N_TILTS), -2.0 * np.arange(N_TILTS)], axis=1)
    return SeriesGeometry.start(tilt, AXIS_DEG, shift)


def alignment(series, rng, *, lost=(), noise=None):
    """Exact tracks of random points, without those of some views; noise in angstrom by view."""
    geometry = true_geometry(series)
    points = rng.uniform(-50, 50, (N_POINTS, 3))
    seen = np.einsum("vai,pi->pva", geometry.matrices[:, :2], points) + geometry.shift_xy_angstrom
    if noise is not None:
        seen += np.asarray(noise)[None, :, None] * rng.normal(size=seen.shape)
    seen[:, list(lost)] = np.nan
    tracks = Tracks.from_table(seen)
    solution = BundleSolution(
        geometry, points, residuals(tracks, geometry, points), np.ones(len(tracks.view))
    )
    zeros = np.zeros(N_TILTS)
    return Alignment("features", tracks, solution, zeros, zeros)


def posed(series, best, *, context=None, exclude=False, coarse=None):
    geometry = true_geometry(series)
    shift = geometry.shift_xy_angstrom if coarse is None else coarse
    return with_poses(
        series,
        best,
        [None] * N_TILTS,
        CoarseAlignment(AXIS_DEG, shift, np.ones(N_TILTS)),
        np.ones(N_TILTS, bool),
        context or MemoryContext(),
        step="align_series",
        exclude_unaligned=exclude,
    )


def test_the_poses_are_those_of_the_solution_with_the_field_centre_as_origin(series, rng):
    made = posed(series, alignment(series, rng))
    least = min(made.tilts, key=lambda tilt: abs(tilt.nominal_tilt_deg))
    # The origin moves in its plane, until it projects onto the centre of the least tilted image.
    np.testing.assert_allclose(least.pose.shift_xy_angstrom, 0.0, atol=1e-9)
    for tilt in made.tilts:
        assert tilt.pose.axis_deg == pytest.approx(AXIS_DEG)
        assert tilt.pose.tilt_deg == pytest.approx(tilt.nominal_tilt_deg)
        assert tilt.pose.residual_angstrom == pytest.approx(0.0, abs=1e-9)
        assert not tilt.pose.predicted
    assert made.tilt_axis_deg.measured == pytest.approx(AXIS_DEG)
    assert made.tilt_axis_deg.applied == pytest.approx(AXIS_DEG)


def test_moving_the_origin_changes_no_projection(series, rng):
    """Points move with the origin, so each tilt's shift changes by what its own matrix makes of the move."""
    geometry = true_geometry(series)
    made = posed(series, alignment(series, rng))
    shift = np.array([tilt.pose.shift_xy_angstrom for tilt in made.tilts])
    least = int(np.argmin(np.abs(geometry.tilt_deg)))
    move = np.linalg.solve(geometry.matrices[least, :2, :2], -geometry.shift_xy_angstrom[least])
    np.testing.assert_allclose(
        shift, geometry.shift_xy_angstrom + geometry.matrices[:, :2, :2] @ move, atol=1e-9
    )


def test_a_tilt_without_tracks_follows_its_coarse_shift_and_its_neighbours(series, rng):
    """Coarse shifts are off by one vector: so is the correction of the neighbours, and the pose is right."""
    context = MemoryContext()
    coarse = true_geometry(series).shift_xy_angstrom + np.array([40.0, -25.0])
    whole = posed(series, alignment(series, rng))
    made = posed(series, alignment(series, rng, lost=(3,)), context=context, coarse=coarse)
    index = series.tilts[3].acquisition_index
    pose = made.tilts[3].pose
    assert pose.predicted
    assert pose.residual_angstrom is None
    np.testing.assert_allclose(pose.shift_xy_angstrom, whole.tilts[3].pose.shift_xy_angstrom, atol=1e-9)
    assert f"in the tilts of acquisition index [{index}]" in context.warnings[0]
    assert made.tilts[3].exclusion is None


def test_it_is_excluded_on_request(series, rng):
    made = posed(series, alignment(series, rng, lost=(3,)), exclude=True)
    assert [tilt.is_excluded for tilt in made.tilts] == [i == 3 for i in range(N_TILTS)]
    assert made.tilts[3].exclusion.reason == "nothing could be tracked"


@pytest.mark.parametrize(("jitter_angstrom", "is_excluded"), [(3.0, False), (80.0, True)])
def test_a_tilt_is_excluded_if_poses_of_neighbours_are_known_to_be_far_off(
    series, rng, jitter_angstrom, is_excluded
):
    """How far off is known from the tilts with tracks, each filled as if it had none."""
    context = MemoryContext()
    best = alignment(series, rng, lost=(3,))
    coarse = true_geometry(series).shift_xy_angstrom + rng.normal(0, jitter_angstrom, (N_TILTS, 2))
    made = posed(series, best, context=context, coarse=coarse)
    assert made.tilts[3].is_excluded == is_excluded
    assert ("they are excluded" in context.warnings[0]) == is_excluded
    assert "with an error of up to about" in context.warnings[0]
    kept = series.with_tilts({series.tilts[3].acquisition_index: {"kept_by": DecidedBy("user", "ada")}})
    assert not posed(kept, best, coarse=coarse).tilts[3].is_excluded


def test_a_tilt_that_fits_far_worse_than_the_others_has_no_pose_of_its_own(series, rng):
    noise = np.full(N_TILTS, 1.0)
    noise[6] = 40.0
    made = posed(series, alignment(series, rng, noise=noise))
    assert [tilt.pose.predicted for tilt in made.tilts] == [i == 6 for i in range(N_TILTS)]


def test_too_few_tilts_are_refused(series, rng):
    lost = range(LEAST_TILTS - 1, N_TILTS)
    with pytest.raises(DataUnfitError, match="only 4 tilts could be aligned, expected at least 5"):
        posed(series, alignment(series, rng, lost=lost))


@pytest.mark.parametrize(("off_angstrom", "is_predicted"), [(0.0, False), (300.0, True)])
def test_two_points_place_a_tilt_only_where_the_images_agree(series, rng, off_angstrom, is_predicted):
    """A wrong offset brings two of twelve points onto two maxima, and their residual is as small as any."""
    best = alignment(series, rng)
    geometry = best.solution.geometry
    shift = geometry.shift_xy_angstrom.copy()
    shift[4] += off_angstrom
    kept = (best.tracks.view != 4) | (best.tracks.point < 2)
    table = np.full((N_POINTS, N_TILTS, 2), np.nan)
    table[best.tracks.point[kept], best.tracks.view[kept]] = best.tracks.position_xy_angstrom[kept]
    table[:, 4] += off_angstrom
    tracks = Tracks.from_table(table)
    moved = replace(geometry, shift_xy_angstrom=shift)
    points = best.solution.points_xyz_angstrom
    solution = BundleSolution(moved, points, residuals(tracks, moved, points), np.ones(len(tracks.view)))
    wide = replace(series, stack=replace(series.stack, pixel_size_angstrom=40.0))
    zeros = np.zeros(N_TILTS)
    made = posed(wide, Alignment("beads", tracks, solution, zeros, zeros, least_points=2))
    assert [tilt.pose.predicted for tilt in made.tilts] == [i == 4 and is_predicted for i in range(N_TILTS)]
