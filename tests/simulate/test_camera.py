"""The camera: noise and transfer as its formulas say, and specimens that move where they should."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.simulate.camera import (
    counted,
    detective_quantum_efficiency,
    frame_expectations,
    modulation_transfer,
    noise_transfer,
)
from cryoloom.simulate.microscope import ExposedContrast, Optics
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.stage import tilt_truths


def noise_along_x(loss, rate, n_frames, seed=4):
    """Noise power of a flat exposure over its mean count, along x, and the frequencies."""
    total = np.zeros(129)
    for i in range(n_frames):
        counts = counted(np.full((256, 256), rate, np.float32), np.random.default_rng([seed, i]), loss)
        rows = counts.sum(axis=0) - counts.sum(axis=0).mean()  # the line k_y = 0 of the spectrum
        total += np.abs(np.fft.rfft(rows)) ** 2 / counts.sum()
    return total / n_frames, np.fft.rfftfreq(256)


def smoothed(values):
    return values[1:-1].reshape(-1, 127)[0][:120].reshape(8, 15).mean(axis=1)


@pytest.mark.parametrize("rate", [0.4, 3.0])
def test_coincidence_takes_noise_at_low_frequencies(rate):
    measured, frequency = noise_along_x(0.05, rate, 60)
    expected = noise_transfer(torch.from_numpy(frequency), 0.05).numpy()
    # 15 frequencies of 60 frames know the power to 3 %.
    assert_allclose(smoothed(measured), smoothed(expected), rtol=0.11)
    assert smoothed(measured)[0] < 0.95


def test_without_coincidence_noise_is_white():
    measured, _ = noise_along_x(0.0, 3.0, 60)
    assert_allclose(smoothed(measured), 1.0, rtol=0.11)


def test_doses_are_of_counted_electrons(rng):
    counts = counted(np.full((400, 400), 2.5, np.float32), rng, 0.08)
    assert counts.mean() == pytest.approx(2.5, rel=0.01)


def test_quantum_efficiency_is_signal_over_noise():
    frequency = torch.linspace(0, 0.5, 11)
    efficiency = detective_quantum_efficiency(frequency, 0.5, 0.05)
    assert efficiency[0].item() == pytest.approx(1.0, abs=0.01)
    assert_allclose(efficiency[-1].item(), 0.25, atol=0.02)  # the square of the MTF at Nyquist
    without = detective_quantum_efficiency(frequency, 0.5, 0.0)
    assert_allclose(without, modulation_transfer(frequency, 0.5) ** 2)


def test_what_moves_locally_goes_where_the_truth_says(rng):
    params = SimulationParams(
        tilt_min_deg=0, tilt_max_deg=0, image_shape_yx=(200, 260), n_frames=4, motion_angstrom=0.0,
        jitter_angstrom=0.0, local_motion_angstrom=10.0, mtf_at_nyquist=1.0,
    )  # fmt: skip
    (tilt,) = tilt_truths(params, rng)
    tilt = tilt.model_copy(update={"frame_travel_yx_angstrom": ()})
    optics = Optics(params)
    top, left = optics.crop_origin_yx
    places = np.array([(y, x) for y in (30.0, 100.0, 170.0) for x in (40.0, 130.0, 220.0)])
    rows, columns = np.mgrid[: optics.shape[0], : optics.shape[1]]
    spots = sum(np.exp(-((rows - top - y) ** 2 + (columns - left - x) ** 2) / 18) for y, x in places)
    spectrum = torch.fft.rfft2(torch.from_numpy(0.5 * spots).to(torch.float32))
    contrast = ExposedContrast(torch.zeros_like(spectrum), spectrum)
    y, x = ((places[:, i] + 0.5) / n * 2 - 1 for i, n in enumerate(params.image_shape_yx))
    for i, frame in enumerate(frame_expectations(contrast, tilt, params, optics)):
        dark = 1 - frame / frame.max()
        truth = tilt.local_motion.displacement_yx_angstrom(i, y, x)
        for n, (cy, cx) in enumerate(places.astype(int)):
            near = dark[cy - 20 : cy + 21, cx - 20 : cx + 21]
            found = [
                np.sum(near * np.arange(-20, 21)[shape]) / near.sum() for shape in ((..., None), (None,))
            ]
            moved = truth[n, n] / params.pixel_size_angstrom
            # u is taken where things arrive instead of where they came from; for 2 pixels that is 0.05.
            assert_allclose(found, moved, atol=0.09)
