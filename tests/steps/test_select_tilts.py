"""select_tilts names what is wrong with a tilt: dark, shifted and blurred images of small series."""

import numpy as np
import pytest

from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import DecidedBy, Microscope, Pose, Sourced, Stack, Tilt, TiltOverride, TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.steps.align_frames import AlignFramesParams, align_frames
from cryoloom.steps.select_tilts import SelectTiltsParams, select_tilts
from makers.simulated_movies import FLAWLESS_CAMERA, simulated_movies

SIDE, PIXEL = 256, 10.0
TILTS = np.arange(-24.0, 25.0, 4.0)
DARK, SHIFTED, BLURRED = 2, 9, 11


def make_series(rng):
    """A flat specimen of texture at 10 A: one image dark, one moved by two fifths, one smeared."""
    y, x = np.fft.fftfreq(2 * SIDE)[:, None], np.fft.rfftfreq(2 * SIDE)[None]
    spectrum = np.fft.rfft2(rng.normal(size=(2 * SIDE, 2 * SIDE))) * np.exp(-((y**2 + x**2) / 0.09**2))
    texture = np.fft.irfft2(spectrum)
    texture /= texture.std()
    half = SIDE // 2
    images = []
    for i in range(len(TILTS)):
        seen = texture
        if i == BLURRED:
            seen = np.mean([np.roll(texture, (k, 3 * k % 11), axis=(0, 1)) for k in range(11)], axis=0)
        first = half + (2 * SIDE // 5 if i == SHIFTED else 0)
        image = 100 + 10 * seen[half : half + SIDE, first : first + SIDE] + rng.normal(0, 2, (SIDE, SIDE))
        images.append(image * (0.2 if i == DARK else 1.0))
    tilts = tuple(Tilt(i, float(t), 3.0 * i, 3.0 * i + 3, section=i) for i, t in enumerate(TILTS))
    stack = Stack(np.array(images, np.float32), PIXEL)
    return TiltSeries("a", Microscope(), PIXEL, tilts, Sourced.from_told(0.0, "mdoc"), stack=stack)


def test_dark_shifted_and_blurred_tilts_are_named(rng, context):
    selected = select_tilts(make_series(rng), SelectTiltsParams(), context)
    reasons = {i: t.exclusion.reason for i, t in enumerate(selected.tilts) if t.is_excluded}
    assert set(reasons) == {DARK, SHIFTED, BLURRED}
    assert "dark" in reasons[DARK]
    assert "shifted" in reasons[SHIFTED]
    assert "blurred" in reasons[BLURRED]


def test_a_tilt_that_a_user_put_back_is_not_excluded_or_counted(rng, context):
    series, anna = make_series(rng), DecidedBy("user", "anna")
    kept = TiltOverride(series.tilts[DARK].acquisition_index, True, "kept by hand", anna)
    left_out = TiltOverride(series.tilts[0].acquisition_index, False, "ice", anna)
    selected = select_tilts(series.with_overrides((kept, left_out)), SelectTiltsParams(), context)
    assert {i for i, t in enumerate(selected.tilts) if t.is_excluded} == {SHIFTED, BLURRED, 0}
    assert context.figures["n_excluded"] == 3
    assert selected.tilts[DARK].kept_by == anna


def test_tilts_beyond_limits_of_angle_and_dose_are_excluded(rng, context):
    limits = SelectTiltsParams(
        min_tilt_deg=-20, max_tilt_deg=18, max_dose_per_angstrom2=33, include_tilts=(12,), find_dark=False
    )
    selected = select_tilts(make_series(rng), limits, context)
    reasons = {i: t.exclusion.reason for i, t in enumerate(selected.tilts) if t.is_excluded}
    # The last tilt is kept by hand, though it is both too high and after the dose.
    assert reasons[0] == "-24.0 deg is below -20 deg"
    assert reasons[11].startswith("blurred")  # a reason in the image comes first
    assert set(reasons) == {0, SHIFTED, BLURRED}
    dose = select_tilts(make_series(rng), SelectTiltsParams(max_dose_per_angstrom2=36), context)
    assert dose.tilts[12].exclusion.reason == "dose of 39.0 e/A^2 is above 36"


def test_shifts_of_an_aligned_series_are_those_of_its_poses(rng, context):
    """Correlation would find the image that was moved, and misses one of which only the pose tells."""
    series = make_series(rng)
    far = {3: (0.3 * SIDE * PIXEL, 0.0), 7: (0.0, -0.12 * SIDE * PIXEL)}
    poses = {
        i: Pose(0.0, tilt, shift_xy_angstrom=far.get(i, (9.0, 9.0))) for i, tilt in enumerate(TILTS.tolist())
    }
    posed = series.with_tilts({i: {"pose": pose} for i, pose in poses.items() if i != 5})
    only_shifts = {"find_dark": False, "find_covered": False, "find_blurred": False}
    selected = select_tilts(posed, SelectTiltsParams(**only_shifts, shift_fraction=0.1), context)
    reasons = {i: t.exclusion.reason for i, t in enumerate(selected.tilts) if t.is_excluded}
    assert reasons == {
        3: "shifted by 30 % of the field, 70 % in common",
        7: "shifted by 12 % of the field, 87 % in common",
    }
    by_field = select_tilts(posed, SelectTiltsParams(**only_shifts, least_common_field=0.75), context)
    assert [i for i, t in enumerate(by_field.tilts) if t.is_excluded] == [3]


def test_a_second_selection_keeps_what_the_first_excluded(rng, context):
    first = select_tilts(make_series(rng), SelectTiltsParams(), context)
    nothing = SelectTiltsParams(
        find_dark=False, find_covered=False, find_shifted=False, find_blurred=False, min_tilt_deg=-20
    )
    second = select_tilts(first, nothing, context)
    assert {i for i, t in enumerate(second.tilts) if t.is_excluded} == {0, DARK, SHIFTED, BLURRED}
    assert "dark" in second.tilts[DARK].exclusion.reason


def blurred_session(**changes):
    """Thirteen small movies of four frames, of which three are smeared within their frames."""
    return SimulationParams(
        **{
            "image_shape_yx": (208, 224), "pixel_size_angstrom": 8.0, "n_frames": 4, "n_particles": 60,
            "n_vesicles": 3, "n_beads": 6, "tilt_min_deg": -36, "tilt_max_deg": 36, "tilt_step_deg": 6,
            "layer_thickness_angstrom": 600.0, "crowd_phase_rad": 0.0,
            "shift_rms_angstrom": 20.0, "shift_trend_angstrom": 60.0,
            "blurred_tilts": (0, 4, 9), "blur_angstrom": 60.0, **FLAWLESS_CAMERA, **changes,
        }
    )  # fmt: skip


def blurred_after_alignment(params, folder, context):
    """Reasons by acquisition index, and the series' record, after align_frames; and the truth."""
    series, truth = simulated_movies(folder, params)
    aligned = align_frames(series, AlignFramesParams(), context)
    selected = select_tilts(aligned, SelectTiltsParams(), context)
    return {t.acquisition_index: t.exclusion for t in selected.tilts if t.is_excluded}, truth


@pytest.mark.parametrize(("n_beads", "kind"), [(6, "vibration"), (0, "vibration"), (6, "drift")])
def test_smear_within_frames_is_found_after_align_frames(tmp_path, context, n_beads, kind):
    params = blurred_session(n_beads=n_beads, blur_kind=kind, seed=2)
    found, truth = blurred_after_alignment(params, tmp_path, context)
    assert set(found) == set(params.blurred_tilts)
    for index, exclusion in found.items():
        tilt = truth.tilt(index)
        smear = tilt.vibration_yx_angstrom if kind == "vibration" else tilt.frame_travel_yx_angstrom[-1]
        true_deg = np.rad2deg(np.arctan2(*smear))
        reported_deg = float(exclusion.reason.split("along ")[1].split(" deg")[0])
        # A sector is 15 degrees wide.
        assert abs((reported_deg - true_deg + 90) % 180 - 90) < 10
        # A vibration spends its time at its turns: its variance is that of a steady smear 1.22 times as wide.
        assert 0.7 * 60 < exclusion.figure < 1.22 * 60 * 1.3


@pytest.mark.parametrize("seed", [1, 2])
def test_good_tilts_are_kept_after_align_frames(tmp_path, context, seed):
    found, _ = blurred_after_alignment(blurred_session(blurred_tilts=(), seed=seed), tmp_path, context)
    assert found == {}
    assert max(context.records["tilt_quality"]["smear_angstrom"]) < 20


def test_a_real_series_keeps_all_its_tilts(data, context):
    series = real_series(data / "tilt-series" / "empiar-10499")
    selected = select_tilts(series, SelectTiltsParams(), context)
    assert [tilt.exclusion for tilt in selected.tilts if tilt.is_excluded] == []
    assert max(context.records["tilt_quality"]["smear_angstrom"]) < 15


def real_series(folder):
    """EMPIAR-10499 as it lies in shared/data: every second tilt."""
    tilt_deg = np.loadtxt(folder / "00254.rawtlt")
    taken = np.argsort(np.argsort(np.abs(tilt_deg), kind="stable"))
    tilts = tuple(
        Tilt(int(i), float(t), 3.0 * i, 3.0 * i + 3, section=section)
        for section, (i, t) in enumerate(zip(taken[::2], tilt_deg[::2], strict=True))
    )
    images = MrcPixels(folder / "00254.mrc")[::2]
    return TiltSeries("real", Microscope(), 10.0, tilts, stack=Stack(images, 10.0))
