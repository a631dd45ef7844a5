"""Spectra of raw frames: their transform on a padded grid, with bad pixels replaced."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.frame_spectra import find_bad_pixels, frame_grid, frame_spectrum


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("shape", [(64, 96), (63, 96), (64, 95)])
def test_spectrum_of_a_frame_is_its_transform(shape, pool, rng):
    frame = rng.poisson(4.0, shape).astype(np.float32)
    bad = find_bad_pixels([frame], None, 1e3, rng, pool)
    grid = frame_grid(shape, 1.0)
    into = np.empty((grid.shape_yx[0], grid.shape_yx[1] // 2 + 1), np.complex64)
    frame_spectrum(frame, 0, None, bad, grid, into, ScratchBuffers())
    back = np.fft.irfft2(into, s=grid.shape_yx)
    offset = [n // 2 - m // 2 for n, m in zip(grid.shape_yx, shape, strict=True)]
    inner = back[offset[0] : offset[0] + shape[0], offset[1] : offset[1] + shape[1]]
    assert_allclose(inner + bad.mean_counts, frame, atol=1e-4)


def test_defects_and_hot_pixels_are_replaced_by_what_is_near(pool, rng):
    shape = (80, 90)
    frames = rng.poisson(3.0, (8, *shape)).astype(np.float32)
    gain = rng.uniform(0.9, 1.1, shape).astype(np.float32)
    gain[5, 7] = 0.0
    gain[:, 40] = 0.0
    frames[:, 33, 60] += 50
    bad = find_bad_pixels(list(frames), gain, 6.0, rng, pool)
    flagged = set(zip(bad.y.tolist(), bad.x.tolist(), strict=True))
    assert flagged == {(5, 7), (33, 60), *((y, 40) for y in range(80))}
    assert bad.mean_counts == pytest.approx(3.0, abs=0.05)
    stand_in_y, stand_in_x = np.divmod(bad.stand_ins, shape[1])
    assert np.all(gain[stand_in_y, stand_in_x] > 0)
    assert np.all(np.hypot(stand_in_y - bad.y, stand_in_x - bad.x) < 8)


@pytest.mark.parametrize("frame", [(4092, 5760), (3838, 3710), (96, 121)])
@pytest.mark.parametrize("binning", [1.0, 1.5, 2.0, 2.37])
def test_a_grid_bins_exactly_and_holds_the_frame(frame, binning):
    grid = frame_grid(frame, binning)
    for n, padded, binned in zip(frame, grid.shape_yx, grid.binned_yx, strict=True):
        assert n <= padded <= n + max(64, n // 20)
        assert padded % 2 == binned % 2 == 0
    if min(frame) > 1000:  # of small frames no size near comes so close
        assert_allclose(grid.binning_yx, binning, rtol=1e-4)


def test_a_frame_of_bad_pixels_alone_has_no_counts(pool, rng):
    bad = find_bad_pixels([np.ones((20, 30), np.float32)], np.zeros((20, 30), np.float32), 6.0, rng, pool)
    assert len(bad.y) == 600
    assert bad.mean_counts == 0.0


def test_known_dead_pixels_are_bad_whatever_they_show(pool, rng):
    dead = np.zeros((40, 50), bool)
    dead[7, 9] = True
    bad = find_bad_pixels(list(rng.poisson(5.0, (4, 40, 50)).astype(np.uint8)), None, 8.0, rng, pool, dead)
    assert (bad.y.tolist(), bad.x.tolist()) == ([7], [9])
