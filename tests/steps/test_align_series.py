"""align_series and select_tilts on small analytic series: blobs and beads whose geometry is known."""

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Ctf, DecidedBy, Exclusion, Sourced
from cryoloom.simulate.assess import defocus_errors_at_origin_angstrom
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.steps.align_series import AlignSeriesParams, align_series
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts
from makers.blob_series import AXIS, TILTS, make_series


def rms_error(series, truth, rng):
    from scipy.optimize import least_squares
    from scipy.spatial.transform import Rotation

    from cryoloom.geometry.projection import project

    points = rng.uniform(-1, 1, (100, 3)) * [800, 800, 300]
    kept = [i for i, t in enumerate(series.tilts) if not t.is_excluded]
    poses = [series.tilts[i].pose for i in kept]
    matrices = np.array([p.matrix * p.magnification for p in poses])
    shifts = np.array([p.shift_xy_angstrom for p in poses])
    target = truth.project(points)[kept]

    def misses(motion):
        moved = Rotation.from_rotvec(motion[:3]).apply(points) + 1000 * motion[3:]
        return (project(moved, matrices, shifts) - target).ravel()

    best = misses(least_squares(misses, np.zeros(6)).x).reshape(target.shape)
    return np.sqrt((best**2).sum(-1).mean())


def test_beads_are_found_and_align_the_series(rng, context):
    series, truth = make_series(rng)
    aligned = align_series(series, AlignSeriesParams(method="beads"), context)
    assert aligned.tilt_axis_deg.told == pytest.approx(AXIS + 5)
    assert aligned.tilt_axis_deg.applied == pytest.approx(AXIS, abs=0.1)
    assert "beads" in aligned.tilt_axis_deg.measured_by
    assert rms_error(aligned, truth, rng) < 4.0  # a third of a pixel
    assert context.figures["n_tracks"] >= 8
    least = aligned.tilts[len(TILTS) // 2].pose
    assert np.hypot(*least.shift_xy_angstrom) < 1e-6  # the origin is the centre of the least tilted image


@pytest.mark.parametrize("method", ["beads", "no_markers"])
def test_a_fixed_axis_is_the_one_given(method, rng, context):
    """Also where the images would rather have another: a session's axis is held in its outlying series."""
    series, _ = make_series(rng)
    params = AlignSeriesParams(method=method, tilt_axis_deg=AXIS + 0.7, axis="fixed", cross_validate=False)
    aligned = align_series(series, params, context)
    assert {round(tilt.pose.axis_deg, 6) for tilt in aligned.tilts} == {AXIS + 0.7}


def test_an_excluded_tilt_gets_a_predicted_pose(rng, context):
    series, _ = make_series(rng)
    series = series.with_tilts({4: {"exclusion": Exclusion.by_user("dark")}})
    aligned = align_series(series, AlignSeriesParams(method="beads", cross_validate=False), context)
    excluded = next(t for t in aligned.tilts if t.acquisition_index == 4)
    assert excluded.is_excluded
    assert excluded.pose.predicted
    assert all(not t.pose.predicted for t in aligned.included)


def test_patches_work_without_beads(rng, context):
    series, truth = make_series(rng, n_beads=0)
    aligned = align_series(
        series, AlignSeriesParams(method="patches", patch_overlap=0.2, working_pixel_angstrom=24), context
    )
    assert rms_error(aligned, truth, rng) < 24.0  # one working pixel
    assert context.figures["n_tracks"] > 8
    assert np.isfinite(context.figures["tilt_offset_by_plane_deg"])


def test_what_was_tried_and_its_errors_are_kept(rng, context):
    series, _ = make_series(rng)
    aligned = align_series(series, AlignSeriesParams(method="beads"), context)
    record = context.records["alignment"]
    assert [one["method"] for one in record["tried"]] == ["beads"]
    for name in ("residual_angstrom", "left_out_error_angstrom", "pose_error_angstrom"):
        assert len(record[name]) == len(TILTS)
    residuals = context.records["residuals"]
    assert residuals["kind"] == "beads"
    assert len({len(column) for name, column in residuals.items() if name != "kind"}) == 1
    assert set(residuals["acquisition_index"]) <= {t.acquisition_index for t in aligned.tilts}
    # A left-out point is missed by more than one that was fitted, and not by ten times more.
    ratio = context.figures["left_out_error_angstrom"] / context.figures["residual_mean_angstrom"]
    assert 0.5 < ratio < 10
    axis = context.records["tilt_axis"]
    assert axis["told_deg"] == pytest.approx(AXIS + 5)
    assert not axis["told_is_refuted"]


def test_a_black_tilt_is_guessed_and_named_and_excluded_unless_a_user_keeps_it(rng, context):
    series, _ = make_series(rng)
    images = series.stack.images.copy()
    images[6] = np.maximum(images[6] * 0.02, 0)
    series = replace(series, stack=replace(series.stack, images=images))
    black = series.tilts[6].acquisition_index
    params = AlignSeriesParams(method="beads", cross_validate=False)
    dropped = align_series(series, params, context)
    assert dropped.tilts[6].pose.predicted
    assert str(black) in context.warnings[-1]
    # The stage of this series jumps by tens of angstrom: poses of neighbours say little.
    assert dropped.tilts[6].exclusion.by == DecidedBy("step", "align_series")
    wanted = series.with_tilts({black: {"kept_by": DecidedBy("user", "ada")}})
    kept = align_series(wanted, params, context)
    assert kept.tilts[6].pose.predicted
    assert not kept.tilts[6].is_excluded


@pytest.mark.parametrize("offset", [1e-6, 0.0])
def test_images_scaled_to_mean_0_are_all_followed_and_tell_no_tilt_offset(rng, context, offset):
    # As `bin_series` with values=standard writes them: what is left of the means is rounding, up or down.
    series, _ = make_series(rng)
    images = series.stack.images - series.stack.images.mean(axis=(1, 2), keepdims=True)
    images /= images.std(axis=(1, 2), keepdims=True)
    images += offset * rng.uniform(0, 1, (len(images), 1, 1))
    series = replace(series, stack=replace(series.stack, images=images.astype(np.float32)))
    aligned = align_series(series, AlignSeriesParams(method="beads", cross_validate=False), context)
    assert not any(tilt.pose.predicted for tilt in aligned.tilts)
    assert aligned.tilt_offset_deg.measured is None


def test_a_tilt_offset_is_measured_and_applied_only_if_asked(rng, context):
    series, _ = make_series(rng)
    images = series.stack.images / np.exp(-0.3 / np.cos(np.deg2rad(TILTS)))[:, None, None]
    images *= np.exp(-0.3 / np.cos(np.deg2rad(TILTS + 6.0)))[:, None, None]
    series = replace(series, stack=replace(series.stack, images=images.astype(np.float32)))
    params = AlignSeriesParams(method="beads", cross_validate=False)
    measured = align_series(series, params, context)
    assert measured.tilt_offset_deg.measured == pytest.approx(6.0, abs=0.5)
    assert measured.tilt_offset_deg.applied is None
    applied = align_series(series, params.model_copy(update={"apply_tilt_offset": True}), context)
    assert applied.tilt_offset_deg.applied == applied.tilt_offset_deg.measured
    turned = [b.pose.tilt_deg - a.pose.tilt_deg for a, b in zip(measured.tilts, applied.tilts, strict=True)]
    np.testing.assert_allclose(turned, applied.tilt_offset_deg.applied, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n_beads", [12, 0])
def test_auto_takes_what_the_data_have(rng, context, n_beads):
    series, truth = make_series(rng, n_beads)
    aligned = align_series(series, AlignSeriesParams(), context)
    tried = [one["method"] for one in context.records["alignment"]["tried"]]
    assert ("beads" in tried) == (n_beads > 0)
    # Auto compares; beads of this size and contrast are never worse than half a pixel here.
    assert rms_error(aligned, truth, rng) < (6.0 if n_beads else 24.0)


def test_too_few_tilts_are_refused(rng, context):
    series, _ = make_series(rng)
    with pytest.raises(DataUnfitError, match="too few tilts"):
        align_series(replace(series, tilts=series.tilts[:3]), AlignSeriesParams(), context)


def test_good_tilts_are_kept(rng, context):
    series, _ = make_series(rng)
    selected = select_tilts(series, SelectTiltsParams(), context)
    assert not any(t.is_excluded for t in selected.tilts)
    assert context.figures["n_excluded"] == 0
    assert len(context.records["tilt_quality"]["mean_counts"]) == len(TILTS)


def test_bad_tilts_are_found_with_reasons(rng, context):
    series, _ = make_series(rng)
    images = series.stack.images.copy()
    images[3] *= 0.2
    images[18, :, :90] *= 0.05
    series = replace(series, stack=replace(series.stack, images=images))
    selected = select_tilts(series, SelectTiltsParams(), context)
    reasons = {i: t.exclusion.reason for i, t in enumerate(selected.tilts) if t.is_excluded}
    assert set(reasons) == {3, 18}
    assert "dark" in reasons[3]
    assert "covered" in reasons[18] or "dark" in reasons[18]


def test_a_shift_is_judged_by_the_field_it_leaves_in_common(rng, context):
    series, _ = make_series(rng, shift_angstrom=20.0)
    images = series.stack.images.copy()
    n_x = images.shape[2]
    images[8] = np.roll(images[8], round(0.22 * n_x), axis=1)
    images[17] = np.roll(images[17], round(0.44 * n_x), axis=1)
    series = replace(series, stack=replace(series.stack, images=images))

    def excluded(params):
        return {i for i, t in enumerate(select_tilts(series, params, context).tilts) if t.is_excluded}

    assert excluded(SelectTiltsParams()) == {17}
    assert excluded(SelectTiltsParams(shift_fraction=0.15)) == {8, 17}


def test_the_users_word_is_final(rng, context):
    series, _ = make_series(rng)
    images = series.stack.images.copy()
    images[3] *= 0.2
    dark = series.tilts[3].acquisition_index
    series = replace(series, stack=replace(series.stack, images=images))
    series = series.with_tilts({7: {"exclusion": Exclusion.by_user("ugly")}})
    selected = select_tilts(series, SelectTiltsParams(include_tilts=(dark, 7), exclude_tilts=(9,)), context)
    excluded = {t.acquisition_index: t.exclusion.by for t in selected.tilts if t.is_excluded}
    assert all(by.is_user for by in excluded.values())
    assert set(excluded) == {7, 9}
    with pytest.raises(UserInputError):
        select_tilts(series, SelectTiltsParams(exclude_tilts=(99,)), context)


@pytest.mark.parametrize("centre", [True, False])
def test_the_defocus_is_that_of_the_origin_though_all_beads_lie_on_one_surface(centre, context):
    params = SimulationParams(
        seed=3,
        image_shape_yx=(256, 256),
        pixel_size_angstrom=10.0,
        tilt_step_deg=6.0,
        n_beads=20,
        beads_lie="on_top",
        n_particles=40,
        thickness_angstrom=1200.0,
        z_offset_angstrom=-200.0,
        handedness=-1,
        shift_rms_angstrom=30.0,
    )
    series, truth = simulate_tilt_series(params)
    rings = {}  # what they show: the defocus of the ice where the image's centre shows it
    for tilt in truth.tilts:
        found = truth.defocus_of_ice_angstrom(tilt.acquisition_index)
        rings[tilt.acquisition_index] = {"ctf": Ctf(found, found, 0.0, refers_to="specimen")}
    known = replace(series.with_tilts(rings), handedness=Sourced(applied=-1.0))
    chosen = AlignSeriesParams(method="beads", centre_specimen=centre, cross_validate=False)
    aligned = align_series(known, chosen, context)
    # Beads tell their surface to a few angstrom, bodies the other to some 5 % of the thickness.
    assert context.figures["middle_height_angstrom"] == pytest.approx(-600, abs=60)
    errors = defocus_errors_at_origin_angstrom(truth, aligned)
    placed = [t.acquisition_index for t in aligned.included if not t.pose.predicted]
    assert len(placed) > 15
    assert np.median([abs(errors[i]) for i in placed]) < 60
    assert aligned.slab.plane[0] == pytest.approx(0 if centre else -600, abs=60)
