"""Frame shifts: found to the precision the photons allow, and not held by a pattern that stands still."""

import numpy as np
import pytest
import scipy.fft
from numpy.testing import assert_allclose

from cryoloom.algorithms.motion.frame_motion import (
    MotionSettings,
    coarse_shifts,
    estimate_motion,
    phase_ramps,
)
from cryoloom.algorithms.motion.trajectory_prior import ShiftMeasurement, TrajectoryPrior, learn_prior

SETTINGS = MotionSettings(
    max_shift_px=12.0, b_factor_px2=100.0, finest_px=2.5, coarsest_px=80.0, tolerance_px=0.005
)
PRIOR = TrajectoryPrior(drift_px=3.0, walk_px=1.0, jitter_px=0.2)


def drift(n_frames, rng):
    t = (np.arange(n_frames) + 0.5) / n_frames
    shifts = np.outer(1 - np.exp(-3 * t), [4.0, -3.0]) + rng.normal(0, 0.1, (n_frames, 2))
    return shifts - shifts.mean(axis=0)


def movie(rng, shape=(250, 252), n_frames=8, counts=3.0, contrast=0.3, residue=0.0):
    """Poisson frames of a smooth random specimen that moves under a wider field; and its shifts."""
    wide = tuple(n + 60 for n in shape)
    frequency = np.hypot(np.fft.fftfreq(wide[0])[:, None], np.fft.rfftfreq(wide[1])[None])
    specimen = scipy.fft.rfft2(rng.standard_normal(wide)) * np.exp(-((frequency / 0.12) ** 2))
    specimen *= contrast / np.std(scipy.fft.irfft2(specimen, s=wide))
    shifts = drift(n_frames, rng)
    ramps_y, ramps_x = phase_ramps(shifts, wide, wide)
    response = 1 + residue * rng.standard_normal(shape)
    frames = []
    for ramp_y, ramp_x in zip(ramps_y, ramps_x, strict=True):
        moved = scipy.fft.irfft2(specimen * ramp_y[:, None] * ramp_x[None], s=wide)[30:-30, 30:-30]
        frames.append(rng.poisson(counts * np.clip((1 + moved) * response, 0.01, None)))
    return np.array(frames, np.float32) - counts, shifts


def estimate(frames, settings=SETTINGS, prior=PRIOR):
    spectra = scipy.fft.rfft2(frames).astype(np.complex64)
    return estimate_motion(spectra, frames.shape[1:], prior, settings)


def rms(difference):
    return float(np.sqrt(np.mean(np.square(difference))))


@pytest.mark.parametrize("n_frames", [2, 7, 24])  # 24: correlated in groups first
def test_shifts_are_found_as_well_as_expected(rng, n_frames):
    frames, shifts = movie(rng, n_frames=n_frames)
    motion = estimate(frames)
    error = rms(motion.shifts_yx_px - shifts)
    assert error < 0.05
    # The posterior's own error bar holds: chi-square of 2 (n - 1) values stays within a factor of two.
    assert error < 2 * rms(motion.error_yx_px) + 0.01


def test_refinement_beats_the_correlation_alone(rng):
    frames, shifts = movie(rng, contrast=0.1)
    spectra = scipy.fft.rfft2(frames).astype(np.complex64)
    coarse = coarse_shifts(spectra, frames.shape[1:], SETTINGS)
    fine = estimate_motion(spectra, frames.shape[1:], PRIOR, SETTINGS).shifts_yx_px
    assert rms(fine - shifts) < rms(coarse - coarse.mean(axis=0) - shifts)


@pytest.mark.parametrize("residue", [0.05, 0.2])
def test_a_standing_pattern_does_not_hold_the_frames(rng, residue):
    # 0.2 makes the pattern's power a tenth of the noise's; plain correlation with it is off by pixels.
    frames, shifts = movie(rng, contrast=0.15, residue=residue)
    assert rms(estimate(frames).shifts_yx_px - shifts) < 0.12


def test_noise_alone_stays_near_the_prior(rng):
    frames = rng.poisson(2.0, (8, 128, 128)).astype(np.float32) - 2.0
    quiet = TrajectoryPrior(drift_px=0.2, walk_px=0.1, jitter_px=0.05)
    motion = estimate(frames, prior=quiet, settings=MotionSettings(0.5, 100.0, 2.5, 40.0, 0.005))
    assert rms(motion.shifts_yx_px) < 0.3
    assert np.all(np.isfinite(motion.shifts_yx_px))


def test_one_frame_has_no_motion(rng):
    frames, _ = movie(rng, n_frames=2)
    assert_allclose(estimate(frames[:1]).shifts_yx_px, [[0.0, 0.0]])


def test_prior_is_learned_from_many_movies(rng):
    truth = TrajectoryPrior(drift_px=1.0, walk_px=0.05, jitter_px=0.3)
    root = np.linalg.cholesky(truth.covariance(8))
    measured = []
    for _ in range(60):
        shifts = root @ rng.standard_normal((8, 2)) + rng.normal(0, 0.05, (8, 2))
        measured.append(ShiftMeasurement(shifts - shifts.mean(axis=0), np.full(2, 1 / (8 * 0.05**2))))
    learned = learn_prior(measured, TrajectoryPrior.start(2.0))
    # 60 movies of 14 differences: jitter is known to about 5 %, the drift's size to about 10 %.
    assert_allclose(learned.jitter_px, truth.jitter_px, rtol=0.15)
    assert_allclose(learned.drift_px, truth.drift_px, rtol=0.4)


def test_shrinking_to_the_prior_helps_where_frames_say_little(rng):
    frames, shifts = movie(rng, contrast=0.06, counts=1.0)
    motion = estimate(frames, prior=TrajectoryPrior(5.0, 0.3, 0.1))
    assert rms(motion.shifts_yx_px - shifts) < rms(motion.measurement.shifts_yx_px - shifts)
