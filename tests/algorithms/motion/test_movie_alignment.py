"""A movie's way from raw frames to sums: bad pixels, exact binning, electrons kept, halves."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.motion.frame_motion import MotionSettings
from cryoloom.algorithms.motion.frame_spectra import frame_grid
from cryoloom.algorithms.motion.movie_alignment import FrameDoses, MovieAligner
from cryoloom.algorithms.motion.trajectory_prior import TrajectoryPrior

SETTINGS = MotionSettings(8.0, 60.0, 2.5, 60.0, 0.01)
PRIOR = TrajectoryPrior(3.0, 1.0, 0.2)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def spots(shape, rng, n_frames, counts, still=False):
    """Frames of smooth dark spots that drift to the right by half a pixel a frame."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = rng.uniform(15, np.array(shape) - 15, (25, 2))
    speed = 0.0 if still else 0.5
    shifts = np.outer(np.arange(n_frames), [0.0, speed])
    shifts -= shifts.mean(axis=0)
    frames = [
        counts
        * (1 - 0.6 * sum(np.exp(-((y - cy - s[0]) ** 2 + (x - cx - s[1]) ** 2) / 18) for cy, cx in centres))
        for s in shifts
    ]
    return np.clip(frames, 0.05 * counts, None).astype(np.float32), shifts


def aligner(shape, pool, binning=1.0, gain=None, **more):
    return MovieAligner(shape, binning, gain, SETTINGS, pool, **more)


@pytest.mark.parametrize(
    ("n", "binning"), [(4092, 1.0), (4092, 4.0), (5760, 4.0), (3838, 1.5), (631, 2.7), (1024, 1.0)]
)
def test_grid_bins_exactly(n, binning):
    grid = frame_grid((n, n), binning)
    assert n <= grid.shape_yx[0] <= 1.06 * n + 64
    assert_allclose(grid.binning_yx, binning, rtol=2e-3 if n < 1000 else 1e-4)
    assert grid.shape_yx[0] % 2 == grid.binned_yx[0] % 2 == 0


@pytest.mark.parametrize("shape", [(150, 162), (151, 161)])
@pytest.mark.parametrize("binning", [1.0, 2.0, 1.5])
def test_electrons_are_kept_and_things_stay_in_place(shape, binning, pool, rng):
    frames, shifts = spots(shape, rng, 6, 2000.0)
    made = aligner(shape, pool, binning).align(list(rng.poisson(frames).astype(np.float32)), PRIOR, rng)
    assert_allclose(made.motion.shifts_yx_px, shifts, atol=0.12)
    total = made.sums.images
    assert total.mean() == pytest.approx(frames.sum(axis=0).mean() * binning**2, rel=0.02)
    # The sum equals, but for noise, frames that never moved; pixel n // 2 is the same place at any binning.
    rng_same = np.random.default_rng(20261121)
    still, _ = spots(shape, rng_same, 6, 2000.0, still=True)
    plain = aligner(shape, pool, binning).align(list(still), PRIOR, rng)
    expected = plain.sums.images
    inner = (slice(8, -8), slice(8, -8))
    assert np.corrcoef(total[inner].ravel(), expected[inner].ravel())[0, 1] > 0.97


def test_halves_are_even_and_odd_frames(pool, rng):
    frames, _ = spots((96, 96), rng, 5, 40.0, still=True)
    frames *= np.array([1, 2, 1, 2, 1], np.float32)[:, None, None]
    made = aligner((96, 96), pool).align(list(frames), PRIOR, rng)
    assert made.sums.even.mean() == pytest.approx(frames[[0, 2, 4]].sum(axis=0).mean(), rel=0.05)


def test_little_memory_gives_the_same_sums(pool):
    frames, _ = spots((150, 162), np.random.default_rng(3), 6, 50.0)
    noisy = list(np.random.default_rng(4).poisson(frames).astype(np.float32))
    results = [
        aligner((150, 162), pool, 2.0, spectra_bytes=size).align(noisy, PRIOR, np.random.default_rng(5))
        for size in (1 << 30, 1)
    ]
    assert_allclose(results[0].sums.even, results[1].sums.even, rtol=1e-4, atol=1e-2)


def test_dose_weighted_sums_keep_the_noise_power(pool, rng):
    noise = list(rng.poisson(20.0, (8, 128, 128)).astype(np.float32))
    doses = FrameDoses(np.linspace(0, 60, 9), 2.0, 300.0)
    made = aligner((128, 128), pool).align(noise, TrajectoryPrior(1e-3, 1e-3, 1e-3), rng, doses)
    plain, weighted = made.sums.images, made.weighted.images
    spectra = [np.abs(np.fft.rfft2(image - image.mean()))[20:40, 20:40] ** 2 for image in (plain, weighted)]
    assert spectra[1].mean() / spectra[0].mean() == pytest.approx(1.0, rel=0.2)
    assert weighted.mean() == pytest.approx(plain.mean(), rel=1e-3)
