"""Methods are compared by what their poses are off, not by their residuals."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment import alignment_methods
from cryoloom.algorithms.alignment.alignment_methods import (
    Alignment,
    Matched,
    align_by_beads,
    align_by_features,
    checked_by_features,
    choose_alignment,
    disagreements,
    with_axis_of,
)
from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.series_continuity import Continuity, SeriesContinuity
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, load_tilt_images
from makers.blob_series import AXIS, PIXEL, TILTS, make_series

ALL = np.ones(len(TILTS), bool)


def alignment(rng, method, n_tracks, noise):
    truth = SeriesGeometry.start(TILTS, AXIS)
    points = rng.uniform(-1, 1, (n_tracks, 3)) * [1000, 1000, 400]
    table = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(table + rng.normal(0, noise, table.shape))
    return Alignment.of(method, tracks, adjust_bundle(tracks, truth), DegreesOfFreedom())


def test_many_poor_tracks_can_be_better_than_a_few_good_ones(rng):
    few, many = alignment(rng, "beads", 6, 4.0), alignment(rng, "features", 150, 5.0)
    residuals = [a.solution.mean_residual_angstrom(a.tracks) for a in (few, many)]
    assert residuals[0] < residuals[1]
    assert many.expected_error_angstrom < few.expected_error_angstrom


def test_patches_are_not_believed_to_be_better_than_they_are_known_to_be(rng):
    patches, beads = alignment(rng, "patches", 150, 2.0), alignment(rng, "beads", 10, 4.0)
    assert patches.typical_error_angstrom < beads.typical_error_angstrom
    assert beads.expected_error_angstrom < patches.expected_error_angstrom


def jumped(rng, alignment_, angstrom):
    """The same, with a third of the views placed elsewhere by all tracks alike."""
    jump = np.where(TILTS > 20, angstrom, 0.0)[:, None] * [0.6, 0.8]
    tracks, geometry = alignment_.tracks, alignment_.solution.geometry
    tracks = replace(tracks, position_xy_angstrom=tracks.position_xy_angstrom + jump[tracks.view])
    start = replace(geometry, shift_xy_angstrom=geometry.shift_xy_angstrom + jump)
    return Alignment.of(alignment_.method, tracks, adjust_bundle(tracks, start), DegreesOfFreedom())


def test_sure_beads_are_not_given_up_for_features_that_contradict_them(rng):
    """The features place all tilts, and their halves agree: both jump alike."""
    beads, features = alignment(rng, "beads", 12, 1.0), alignment(rng, "features", 60, 3.0)
    lost = np.isin(beads.tracks.view, [0, 1, 2])
    few = beads.tracks.select(~lost)
    beads = Alignment.of("beads", few, adjust_bundle(few, beads.solution.geometry), DegreesOfFreedom())
    assert choose_alignment([beads, features], ALL, PIXEL) is features
    assert not disagreements(features, [beads, features], ALL, PIXEL)
    wrong = jumped(rng, features, 300.0)
    assert wrong.typical_error_angstrom < 3.0
    assert choose_alignment([beads, wrong], ALL, PIXEL) is beads
    assert list(disagreements(wrong, [beads, wrong], ALL, PIXEL)) == ["beads"]


def test_a_series_without_beads_has_none(rng):
    series, truth = make_series(rng, n_beads=0)
    images = load_tilt_images(series.stack.images, PIXEL, PIXEL)
    found = align_by_beads(images, truth, ALL, DegreesOfFreedom(), None, doubted=True)
    assert found is None or not found.is_sure(PIXEL)


def test_grainy_beads_are_sure_where_both_halves_give_the_same_poses(rng):
    # Bead residuals of 0.4 pixel, as on real series of few electrons: enough of them settle the poses.
    few, many = (alignment(rng, "beads", n, 0.4 * PIXEL / np.sqrt(np.pi / 2)) for n in (5, 60))
    assert few.solution.mean_residual_angstrom(few.tracks) > 0.25 * PIXEL
    assert many.solution.mean_residual_angstrom(many.tracks) > 0.25 * PIXEL
    assert many.is_sure(PIXEL)
    assert not few.is_sure(PIXEL)


def test_two_beads_place_a_view_of_which_only_the_shift_is_unknown(rng):
    """Gold at one end of the field: two of seven beads are seen in half of the views."""
    whole = alignment(rng, "beads", 7, 1.0)
    seen = (TILTS[whole.tracks.view] > 0) | (whole.tracks.point < 2)
    tracks = whole.tracks.select(seen)
    free, turning = DegreesOfFreedom(), DegreesOfFreedom(axis="per_view")
    beads = Alignment.of("beads", tracks, adjust_bundle(tracks, whole.solution.geometry), free)
    assert beads.placed_part(ALL) >= 0.95  # one of two may be taken for an outlier
    assert np.isfinite(beads.pose_error_angstrom).all()
    few = TILTS <= 0
    assert beads.halves_error_angstrom[few].mean() > beads.halves_error_angstrom[~few].mean()
    for method, free_ in (("features", free), ("beads", turning)):
        other = Alignment.of(method, tracks, beads.solution, free_)
        assert other.placed_part(ALL) == pytest.approx(1 - few.mean(), abs=0.05)


def test_an_alignment_that_does_not_hold_together_comes_last_and_is_never_sure(rng):
    beads, patches = alignment(rng, "beads", 40, 0.2), alignment(rng, "patches", 40, 8.0)
    assert beads.is_sure(PIXEL)
    assert choose_alignment([beads, patches], ALL, PIXEL) is beads
    broken = replace(beads, holds_together=False)
    assert not broken.is_sure(PIXEL)
    assert choose_alignment([broken, patches], ALL, PIXEL) is patches
    assert choose_alignment([broken], ALL, PIXEL) is broken


def test_a_view_that_shows_something_else_has_no_pose_of_its_own(rng, monkeypatch):
    alone = np.arange(len(TILTS)) == 3
    said = SeriesContinuity(Continuity(0.0, across=0.1, among=0.6, error=0.02), alone)
    monkeypatch.setattr(alignment_methods, "series_continuity", lambda *_: said)
    ones = np.ones(len(TILTS))
    images = TiltImages(torch.zeros(len(TILTS), 8, 8), PIXEL, ones, ones)
    patches = checked_by_features(alignment(rng, "patches", 40, 3.0), images, ALL)
    counts = patches.solution.view_residuals_angstrom(patches.tracks)[1]
    np.testing.assert_array_equal(counts == 0, alone)
    np.testing.assert_array_equal(np.isnan(patches.pose_error_angstrom), alone)
    assert not patches.holds_together


@pytest.mark.parametrize(("part_seen", "holds"), [(1.0, True), (0.2, False)])
def test_tracks_that_any_poses_fit_do_not_hold_a_series_together(rng, monkeypatch, part_seen, holds):
    """Where the specimen has too few features to tell, the number of observations does."""
    nothing = SeriesContinuity(None, np.zeros(len(TILTS), bool))
    monkeypatch.setattr(alignment_methods, "series_continuity", lambda *_: nothing)
    ones = np.ones(len(TILTS))
    images = TiltImages(torch.zeros(len(TILTS), 8, 8), PIXEL, ones, ones)
    whole = alignment(rng, "patches", 12, 3.0)
    seen = rng.uniform(size=len(whole.tracks.view)) < part_seen
    weight = np.where(seen, whole.solution.robust_weight, 0.0)
    patches = replace(whole, solution=replace(whole.solution, robust_weight=weight))
    assert (patches.redundancy >= alignment_methods.LEAST_REDUNDANCY) == holds
    assert checked_by_features(patches, images, ALL).holds_together == holds


def test_too_few_tracks_tell_no_error(rng):
    assert alignment(rng, "beads", 3, 1.0).typical_error_angstrom == pytest.approx(np.inf)


@pytest.mark.parametrize(("off_deg", "n_searches"), [(1.2, 3), (0.6, 2), (0.1, 1)])
def test_features_are_sought_again_about_an_axis_that_was_far_off(rng, monkeypatch, off_deg, n_searches):
    made = alignment(rng, "features", 30, 1.0)
    starts = []

    def search(images, first, usable, free):
        starts.append(first.mean_axis_deg)
        # A search leaves two fifths of the axis' error.
        axis = AXIS + 0.4 * (first.axis_deg - AXIS)
        geometry = replace(made.solution.geometry, axis_deg=axis)
        return SimpleNamespace(tracks=made.tracks, solution=replace(made.solution, geometry=geometry))

    monkeypatch.setattr(alignment_methods, "track_features", search)
    monkeypatch.setattr(alignment_methods, "error_of_halves", lambda *_: None)
    ones = np.ones(len(TILTS))
    images = TiltImages(torch.zeros(len(TILTS), 8, 8), PIXEL, ones, ones)
    found = align_by_features(images, SeriesGeometry.start(TILTS, AXIS + off_deg), ALL, DegreesOfFreedom())
    assert len(starts) == n_searches
    assert found.solution.geometry.mean_axis_deg == pytest.approx(AXIS + off_deg * 0.4**n_searches)


def test_patches_take_the_axis_that_features_tell(rng):
    series, truth = make_series(rng)[:2]
    images = load_tilt_images(series.best_stack.images, PIXEL, PIXEL)
    points = rng.uniform(-1, 1, (30, 3)) * [600, 600, 200]
    table = truth.project(points).transpose(1, 0, 2)
    tracks = Tracks.from_table(table + rng.normal(0, 3.0, table.shape))
    off = replace(truth, axis_deg=truth.axis_deg + 0.6)
    features = Alignment.of("features", tracks, adjust_bundle(tracks, truth), DegreesOfFreedom())
    patches = Alignment.of(
        "patches", tracks, adjust_bundle(tracks, off, DegreesOfFreedom(axis="fixed")), DegreesOfFreedom()
    )
    assert patches.solution.geometry.mean_axis_deg == pytest.approx(AXIS + 0.6)
    found = with_axis_of(features, patches, images, (0.0, 0.0, 0.0), ALL, DegreesOfFreedom())
    assert found.method == "patches"
    axis = found.solution.geometry.mean_axis_deg
    assert axis == pytest.approx(features.solution.geometry.mean_axis_deg)
    assert axis == pytest.approx(AXIS, abs=0.1)
    assert with_axis_of(features, features, images, (0.0, 0.0, 0.0), ALL, DegreesOfFreedom()) is features


def test_a_plane_without_evidence_has_no_slope():
    geometry = SeriesGeometry.start(np.linspace(-60, 60, 5), 85.0)
    assert Matched(geometry, (0.0, 0.0, 0.0)).slope_deg is None
    assert Matched(geometry, (30.0, 0.1, 0.0)).slope_deg == pytest.approx(5.711, abs=1e-3)
