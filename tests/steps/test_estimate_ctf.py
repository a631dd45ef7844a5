from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydantic import ValidationError

from cryoloom.algorithms.ctf.series_model import defocus_slope
from cryoloom.algorithms.series.specimen_frame import with_defocus_at_origin
from cryoloom.contract import find_step
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.estimate_ctf import EstimateCtfParams, estimate_ctf
from makers.context import MemoryContext
from makers.tilted_images import tilted_film

ANGLES = np.array([-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0])
DEFOCI = 28000.0 + np.array([300.0, -200.0, 100.0, 0.0, -350.0, 250.0, 50.0])
PARAMS = EstimateCtfParams(high_resolution_angstrom=6.0, max_defocus_angstrom=45000.0)


def series_of(images: np.ndarray, pixel_size_angstrom: float = 2.7) -> TiltSeries:
    order = np.argsort(np.argsort(np.abs(ANGLES), kind="stable"), kind="stable")
    tilts = tuple(
        Tilt(int(order[i]), float(angle), 3.0 * order[i], 3.0 * order[i] + 3.0, section=i)
        for i, angle in enumerate(ANGLES)
    )
    return TiltSeries(
        "TS_01",
        Microscope(),
        pixel_size_angstrom,
        tilts,
        tilt_axis_deg=Sourced.from_told(85.0, "mdoc"),
        stack=Stack(images, pixel_size_angstrom),
    )


@pytest.fixture(scope="module")
def series() -> TiltSeries:
    rng = np.random.default_rng(11)
    images = [
        tilted_film(rng, defocus_angstrom=defocus, tilt_deg=angle, axis_deg=85.0)
        for defocus, angle in zip(DEFOCI, ANGLES, strict=True)
    ]
    return series_of(np.stack(images))


def test_every_exposure_gets_its_defocus_and_the_series_its_hand(series, context):
    found = estimate_ctf(series, PARAMS, context)
    assert_allclose([t.ctf.defocus_angstrom for t in found.tilts], DEFOCI, atol=120.0)
    assert all(t.ctf.fit_resolution_angstrom < 8.0 and not t.ctf.predicted for t in found.tilts)
    assert found.handedness.applied == found.handedness.measured == 1
    assert context.warnings == []
    assert context.figures["n_predicted"] == 0
    assert abs(context.figures["defocus_median_angstrom"] - 28050.0) < 120.0
    curves = context.records["ctf_curves"]
    assert {curve["acquisition_index"] for curve in curves} == set(range(7))
    assert all(
        len(c["frequency_per_angstrom"])
        == len(c["spectrum"])
        == len(c["model"])
        == len(c["background"])
        <= 200
        for c in curves
    )
    assert all(0 < t.ctf.defocus_sd_angstrom < 100 for t in found.tilts)
    # Six exposures stand steep enough to vote.
    assert (context.figures["handedness_votes_for"], context.figures["handedness_votes_against"]) == (6, 0)
    assert abs(context.figures["handedness_gradient"] - 1) < 0.2


def golden_film(seed: int, phase_rms_rad: float) -> TiltSeries:
    """Twelve beads 800 angstrom above a film."""
    rng = np.random.default_rng(seed)
    images = [
        tilted_film(
            rng,
            defocus_angstrom=defocus,
            tilt_deg=angle,
            axis_deg=85.0,
            phase_rms_rad=phase_rms_rad,
            n_gold=12,
            gold_height_angstrom=800.0,
        )
        for defocus, angle in zip(DEFOCI, ANGLES, strict=True)
    ]
    return series_of(np.stack(images))


def test_gold_on_a_surface_does_not_draw_the_defocus(context):
    # Gold is strong at low frequencies; the film is white.
    params = PARAMS.model_copy(update={"high_resolution_angstrom": 10.0})
    golden = golden_film(2, 0.07)
    found = estimate_ctf(golden, params, context)
    assert context.figures["n_beads_hidden"] == pytest.approx(12, abs=1)
    drawn = estimate_ctf(golden, params.model_copy(update={"hide_gold": False}), MemoryContext())
    off, drawn_off = (
        np.mean([t.ctf.defocus_angstrom for t in one.tilts]) - DEFOCI.mean() for one in (found, drawn)
    )
    assert abs(off) < 100
    assert drawn_off < -180


def test_gold_that_alone_has_rings_is_reported(context):
    found = estimate_ctf(golden_film(1, 0.005), PARAMS, context)
    assert all(t.ctf is not None for t in found.tilts)
    assert "only gold shows Thon rings" in context.warnings[0]


def test_rings_too_weak_for_one_image_are_found_in_the_series(context):
    """A third of the modulation that is looked for first, below gold."""
    found = estimate_ctf(golden_film(1, 0.03), PARAMS, context)
    off = (
        np.array([t.ctf.defocus_angstrom for t in found.tilts if not t.ctf.predicted])
        - DEFOCI[[not t.ctf.predicted for t in found.tilts]]
    )
    assert len(off) >= 4
    assert abs(np.mean(off)) < 200
    assert not any("only gold" in warning for warning in context.warnings)


def test_an_exposure_without_rings_is_predicted_and_named(series, context, rng):
    images = np.array(series.stack.images)
    images[1] = rng.poisson(20.0, images.shape[1:])
    found = estimate_ctf(replace(series, stack=replace(series.stack, images=images)), PARAMS, context)
    (predicted,) = [t for t in found.tilts if t.ctf.predicted]
    assert predicted.section == 1
    assert predicted.ctf.fit_resolution_angstrom is None
    assert predicted.ctf.defocus_sd_angstrom > 200
    assert f"tilts [{predicted.acquisition_index}] show no Thon rings" in context.warnings[0]
    assert context.figures["n_predicted"] == 1


def test_a_rejected_fit_is_predicted_and_its_image_kept(series, context):
    found = estimate_ctf(series, PARAMS.model_copy(update={"predict_tilts": (3,)}), context)
    rejected = next(tilt for tilt in found.tilts if tilt.acquisition_index == 3)
    truth = dict(zip([tilt.acquisition_index for tilt in series.tilts], DEFOCI, strict=True))
    assert rejected.ctf.predicted
    assert not rejected.is_excluded
    # Exposures scatter by 250 A about their neighbours: a prediction is no better.
    assert rejected.ctf.defocus_angstrom == pytest.approx(truth[3], abs=800.0)
    assert sum(tilt.ctf.predicted for tilt in found.tilts) == 1
    assert context.warnings == []
    with pytest.raises(DataUnfitError, match="acquisition index \\[99\\]"):
        estimate_ctf(series, PARAMS.model_copy(update={"predict_tilts": (99,)}), context)


def test_a_tilt_is_fitted_again_where_the_others_expect_it(series, context, rng):
    """Its image has strong rings of another defocus: left alone these win."""
    images = np.array(series.stack.images)
    images[6] = tilted_film(rng, defocus_angstrom=38000.0, tilt_deg=ANGLES[6], axis_deg=85.0)
    strange = replace(series, stack=Stack(images, series.stack.pixel_size_angstrom))
    index = series.tilts[6].acquisition_index
    alone = estimate_ctf(strange, PARAMS, context).tilts[6].ctf
    assert alone.defocus_angstrom == pytest.approx(38000.0, abs=300.0)
    near = estimate_ctf(strange, PARAMS.model_copy(update={"refit_tilts": (index,)}), context).tilts[6].ctf
    assert near.defocus_angstrom == pytest.approx(28050.0, abs=2500.0)


def test_a_series_too_flat_to_tell_its_hand_is_inconclusive(series, context):
    flat = replace(series, tilts=tuple(t for t in series.tilts if abs(t.nominal_tilt_deg) < 20))
    found = estimate_ctf(flat, PARAMS, context)
    assert found.handedness.applied is None
    assert "the handedness is inconclusive" in context.warnings[0]
    assert "expected 5, and 3 for one against" in context.warnings[0]


def test_a_known_phase_shift_is_taken_over(series, context):
    # A shift with an axis 20 degrees wrong bends the defocus: the step must have used it.
    params = PARAMS.model_copy(update={"phase_shift_deg": 20.0})
    found = estimate_ctf(series, params, context)
    assert all(t.ctf.phase_shift_deg == 20.0 for t in found.tilts)
    shifted = np.array([t.ctf.defocus_angstrom for t in found.tilts]) - DEFOCI
    assert np.median(shifted) < -100


def test_excluded_exposures_are_left_alone(series, context):
    excluded = series.with_tilts({3: {"exclusion": Exclusion.by_user("dark")}})
    found = estimate_ctf(excluded, PARAMS, context)
    assert [t.ctf is None for t in found.tilts] == [t.acquisition_index == 3 for t in found.tilts]


def test_with_poses_the_defocus_is_that_of_the_origin(series, context):
    shift = (40.0, -150.0)
    posed = series.with_tilts(
        {
            t.acquisition_index: {"pose": Pose(85.0, t.nominal_tilt_deg, shift_xy_angstrom=shift)}
            for t in series.tilts
        }
    )
    found = estimate_ctf(posed, PARAMS, context)
    assert all(t.ctf.refers_to == "specimen" for t in found.tilts)  # where its middle is was not measured
    found = with_defocus_at_origin(found, assume_centred=True)
    expected = DEFOCI + [defocus_slope(85.0, angle, 0.0, 1) @ shift for angle in ANGLES]
    assert_allclose([t.ctf.defocus_angstrom for t in found.tilts], expected, atol=120.0)


def test_a_given_handedness_is_used_and_kept(series, context):
    given = replace(series, handedness=Sourced.from_told(1.0, "user"))
    assert estimate_ctf(given, PARAMS, context).handedness == given.handedness


def test_images_without_rings_go_on_without_a_ctf(rng, context):
    silent = series_of(rng.poisson(20.0, (7, 256, 256)).astype(np.float32))
    found = estimate_ctf(silent, PARAMS, context)
    assert all(t.ctf is None for t in found.tilts)
    assert "no Thon rings" in context.warnings[0]


def test_pixels_too_coarse_for_rings_are_reported(rng, context):
    coarse = series_of(rng.poisson(20.0, (7, 64, 64)).astype(np.float32), pixel_size_angstrom=20.0)
    assert estimate_ctf(coarse, PARAMS, context) == coarse
    assert "pixels of 20 A" in context.warnings[0]


def test_a_real_series_of_10_angstrom_pixels_does_not_get_an_invented_ctf(data):
    folder = data / "tilt-series" / "empiar-10499"
    angles = np.loadtxt(folder / "00254.rawtlt")
    tilts = tuple(Tilt(i, float(a), 3.0 * i, 3.0 * i + 3.0, section=i) for i, a in enumerate(angles))[10:31:2]
    series = TiltSeries(
        "00254", Microscope(), 10.0, tilts, stack=Stack(MrcPixels(folder / "00254.mrc"), 10.0)
    )
    context = MemoryContext()
    found = estimate_ctf(series, EstimateCtfParams(), context)
    assert all(t.ctf is None for t in found.tilts)
    assert len(context.warnings) == 1


def test_impossible_ranges_are_refused():
    with pytest.raises(ValidationError, match="expected more than min_defocus_angstrom"):
        EstimateCtfParams(min_defocus_angstrom=50000.0, max_defocus_angstrom=20000.0)
    with pytest.raises(ValidationError, match="expected less than low_resolution_angstrom"):
        EstimateCtfParams(high_resolution_angstrom=40.0)
    with pytest.raises(ValidationError, match="set phase_shift_deg to 0"):
        EstimateCtfParams(phase_plate=True, phase_shift_deg=90.0)


def test_the_step_is_found_and_declares_its_memory(series):
    step = find_step("estimate_ctf")
    # A 5760 x 4092 series must fit into the pipeline's 8 GiB with room for others.
    assert step.bytes_needed(series, PARAMS) < 2 << 30


def test_a_known_hand_tells_which_way_an_axis_points(series, context):
    """The gradient has the sign +1 with the axis as it is: a microscope of -1 has it half a turn on."""
    given_hand = -1.0
    undirected = replace(
        series,
        handedness=Sourced.from_told(given_hand, "user"),
        tilt_axis_deg=Sourced.from_told(series.tilt_axis_deg.applied, "mdoc Tomo5 TiltAxisAngle"),
        axis_is_directed=False,
    )
    found = estimate_ctf(undirected, PARAMS, context)
    expected = series.tilt_axis_deg.applied + 180.0
    assert np.cos(np.deg2rad(found.tilt_axis_deg.applied - expected)) > 0.999
    assert found.axis_is_directed
    assert found.handedness.applied == given_hand
    assert any("the tilt axis is turned" in warning for warning in context.warnings)
