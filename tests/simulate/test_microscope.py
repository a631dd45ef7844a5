import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import center_of_mass, gaussian_filter

from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.geometry.frames import index_from_position
from cryoloom.geometry.projection import project
from cryoloom.simulate.microscope import ExposedContrast, Optics, remaining_after_dose
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.session import simulate_tilt_series
from cryoloom.simulate.stage import tilt_truths

ICE_ONLY = {
    "n_particles": 0, "n_vesicles": 0, "n_membranes": 0, "n_beads": 0, "crowd_phase_rad": 0.0,
    "ice_phase_rad": 0.02,
    "dose_per_tilt_per_angstrom2": 30.0, "image_shape_yx": (320, 320), "pixel_size_angstrom": 4.0,
    "pretilt_x_deg": 0.0, "pretilt_y_deg": 0.0, "tilt_error_rms_deg": 0.0, "shift_rms_angstrom": 0.0,
    "shift_trend_angstrom": 0.0, "tilt_axis_deg": 0.0, "mtf_at_nyquist": 0.9,
}  # fmt: skip


def best_defocus(image, params, guess, reach=4000.0):
    """Defocus whose ``ctf^2`` the power spectrum of an image is most like: a plain fit of our own."""
    n_y, n_x = image.shape
    fy, fx = np.fft.fftfreq(n_y)[:, None], np.fft.rfftfreq(n_x)[None]
    k2 = (fy**2 + fx**2) / params.pixel_size_angstrom**2
    window = np.hanning(n_y)[:, None] * np.hanning(n_x)
    power = np.abs(np.fft.rfft2((image - image.mean()) * window)) ** 2
    band = (k2 > 1 / 40.0**2) & (k2 < 1 / 9.5**2)
    tried = np.arange(guess - reach, guess + reach + 1, 50.0)
    wavelength, spherical = 0.019687, 2.7e7
    scores = []
    for defocus in tried:
        chi = np.pi * wavelength * defocus * k2 - 0.5 * np.pi * spherical * wavelength**3 * k2**2
        model = np.sin(chi + np.arcsin(params.amplitude_contrast)) ** 2
        scores.append(np.corrcoef(model[band], power[band])[0, 1])
    return tried[int(np.argmax(scores))]


def test_rings_are_where_the_true_defocus_puts_them():
    params = SimulationParams(
        **ICE_ONLY, tilt_min_deg=0, tilt_max_deg=0, astigmatism_angstrom=0.0, thickness_angstrom=400.0
    )
    series, truth = simulate_tilt_series(params)
    found = best_defocus(series.stack.images[0], params, 35000.0)
    # The grid is 50 A, and one image's noise about as much.
    assert found == pytest.approx(truth.defocus_of_ice_angstrom(0), abs=150.0)


def test_a_phase_plate_adds_its_phase_and_charges():
    """The transfer is the one the rest of the package computes for the CTF that the truth tells."""
    params = SimulationParams(
        **ICE_ONLY, phase_shift_deg=60.0, phase_shift_drift_deg=30.0, n_series=1
    ).model_copy(update={"image_shape_yx": (64, 64)})
    tilts = tilt_truths(params, np.random.default_rng(1))
    assert [tilts[0].phase_shift_deg, tilts[-1].phase_shift_deg] == [60.0, 90.0]
    optics, last = Optics(params), tilts[-1]
    expected = ctf_2d(optics.shape, params.pixel_size_angstrom, last.ctf, optics.microscope)
    assert_allclose(optics.ctf(last), expected, atol=2e-3)
    assert last.ctf.phase_shift_deg == 90.0


@pytest.mark.parametrize("handedness", [1, -1])
def test_defocus_changes_over_a_tilted_image_as_handedness_says(handedness):
    params = SimulationParams(
        **{**ICE_ONLY, "image_shape_yx": (256, 640)},
        tilt_min_deg=0, tilt_max_deg=45, tilt_step_deg=45, scheme="continuous",
        handedness=handedness, astigmatism_angstrom=0.0, thickness_angstrom=300.0,
    )  # fmt: skip
    series, truth = simulate_tilt_series(params)
    tilt = truth.tilts[1]
    image = series.stack.images[1]
    left, right = (
        best_defocus(image[:, part], params, 35000.0) for part in (slice(0, 200), slice(-200, None))
    )
    # Image x = x cos, w = -x sin, so w falls by tan(45) per angstrom of image x, and defocus with -hand w.
    expected = handedness * (640 - 200) * 4.0 * np.tan(np.deg2rad(tilt.tilt_deg))
    assert right - left == pytest.approx(expected, rel=0.2)


def test_beads_fall_where_the_truth_projects_them():
    params = SimulationParams(
        image_shape_yx=(300, 400), n_particles=0, n_vesicles=0, n_membranes=0, n_beads=8, crowd_phase_rad=0,
        tilt_min_deg=-48, tilt_max_deg=48, tilt_step_deg=48, dose_per_tilt_per_angstrom2=30.0,
    )  # fmt: skip
    series, truth = simulate_tilt_series(params)
    pixel = params.pixel_size_angstrom
    checked = 0
    for section, tilt in enumerate(series.tilts):
        pose = truth.tilt(tilt.acquisition_index).pose
        places = project(truth.beads_xyz_angstrom, [pose.matrix], [pose.shift_xy_angstrom])[0]
        places = index_from_position(places, params.image_shape_yx, pixel)
        for y, x in places:
            alone = np.sort(np.hypot(*(places - (y, x)).T))[1] > 40
            if not (20 < y < 280 and 20 < x < 380 and alone):
                continue
            iy, ix = round(y), round(x)
            dark = -gaussian_filter(series.stack.images[section], 1.0)[iy - 8 : iy + 9, ix - 8 : ix + 9]
            dark = np.clip(dark - np.percentile(dark, 70), 0, None)
            found = np.add(center_of_mass(dark), (iy - 8, ix - 8))
            assert_allclose(found, [y, x], atol=0.7)
            checked += 1
    assert checked > 10


def test_remaining_after_dose_is_grant_and_grigorieffs():
    k2 = torch.tensor([1 / 10.0**2])
    critical = 0.245 * 0.1**-1.665 + 2.81
    at_once = remaining_after_dose(k2, 20.0, 20.0 + 1e-3, 300.0)
    assert at_once.item() == pytest.approx(np.exp(-20.0 / (2 * critical)), rel=1e-3)
    doses = np.linspace(6, 9, 1001)
    over = remaining_after_dose(k2, 6.0, 9.0, 300.0)
    assert over.item() == pytest.approx(np.exp(-doses / (2 * critical)).mean(), rel=1e-3)
    assert remaining_after_dose(k2, 20.0, 23.0, 200.0) < remaining_after_dose(k2, 20.0, 23.0, 300.0)


def test_astigmatism_is_larger_along_its_angle():
    params = SimulationParams(
        tilt_min_deg=0, tilt_max_deg=0, astigmatism_angstrom=2000.0, astigmatism_angle_deg=30.0
    )
    from cryoloom.simulate.stage import tilt_truths

    tilt = tilt_truths(params, np.random.default_rng(1))[0]
    optics = Optics(params)
    ctf = optics.ctf(tilt).numpy()
    # Along 30 deg the transfer is that of defocus u alone.
    k = 0.03
    iy = round(k * np.sin(np.deg2rad(30)) * optics.shape[0] * 5.0)
    ix = round(k * np.cos(np.deg2rad(30)) * optics.shape[1] * 5.0)
    k2 = float(optics.k2[iy, ix])
    wavelength = optics.microscope.wavelength_angstrom
    chi = np.pi * wavelength * tilt.defocus_u_angstrom * k2 - 0.5 * np.pi * 2.7e7 * wavelength**3 * k2**2
    assert ctf[iy, ix] == pytest.approx(np.sin(chi + np.arcsin(0.07)), abs=0.02)


@pytest.mark.parametrize("kind", ["vibration", "drift"])
def test_a_smear_is_the_mean_of_the_image_over_its_path(kind):
    from cryoloom.simulate.camera import sum_expectation
    from cryoloom.simulate.microscope import exposed_contrast
    from cryoloom.simulate.specimen import make_specimen
    from cryoloom.simulate.stage import tilt_truths

    params = SimulationParams(
        tilt_min_deg=0, tilt_max_deg=0, image_shape_yx=(160, 180), n_particles=6, n_vesicles=0, n_membranes=0,
        n_beads=2,
        motion_angstrom=0.0, jitter_angstrom=0.0, blurred_tilts=(0,), blur_angstrom=60.0, blur_kind=kind,
    )  # fmt: skip
    (blurred,) = tilt_truths(params, np.random.default_rng(3))
    optics = Optics(params)
    specimen = make_specimen(params, (blurred,), np.random.default_rng(4))
    contrast = exposed_contrast(specimen, blurred, params, optics, np.random.default_rng(5))
    smeared = sum_expectation(contrast, blurred, params, optics)
    sharp = blurred.model_copy(update={"vibration_yx_angstrom": (0.0, 0.0), "frame_travel_yx_angstrom": ()})
    phase = np.arange(64) / 64
    if kind == "vibration":
        path = np.sin(2 * np.pi * phase)[:, None] * np.array(blurred.vibration_yx_angstrom)
    else:
        path = (phase - phase.mean())[:, None] * np.array(blurred.frame_travel_yx_angstrom[0])
    total = np.zeros_like(smeared)
    for y, x in path:
        ramp = torch.exp(-2j * np.pi * (optics.k_y * y + optics.k_x * x))
        moved = ExposedContrast(contrast.damaged_rfft * ramp, contrast.lasting_rfft * ramp)
        total += sum_expectation(moved, sharp, params, optics) / len(path)
    still = sum_expectation(contrast, sharp, params, optics)
    # Means over 64 places stand for the path to a part in a thousand of what the smear changes.
    assert np.abs(smeared - total).max() < 0.005 * np.abs(smeared - still).max()
    assert smeared.std() < 0.8 * still.std()


def test_ice_scatters_as_much_as_its_phase_says():
    params = SimulationParams(
        **{
            **ICE_ONLY, "ice_phase_rad": 0.0025, "pixel_size_angstrom": 2.7, "image_shape_yx": (512, 512),
            "mtf_at_nyquist": 1.0, "dose_per_tilt_per_angstrom2": 3.0,
        },
        tilt_min_deg=0, tilt_max_deg=0, thickness_angstrom=1200.0, coincidence_loss=0.0,
    )  # fmt: skip
    series, truth = simulate_tilt_series(params)
    image = series.stack.images[0]
    # Independent voxels along the beam add their variances; contrast is twice phase times transfer.
    phase2 = 0.0025**2 * 1200.0 / 2.7
    expected = 4 * phase2 * float((Optics(params).ctf(truth.tilts[0]) ** 2).mean())
    excess = image.var() / image.mean() ** 2 - 1 / image.mean()
    # Shot noise, 12 times as strong, is known to 0.3 % from so many pixels.
    assert excess == pytest.approx(expected, rel=0.12)
