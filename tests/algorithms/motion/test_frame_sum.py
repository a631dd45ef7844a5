"""Sums of frames that were moved, put back where they were: electrons are kept, and places."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.frame_spectra import find_bad_pixels, frame_grid, frame_spectrum
from cryoloom.algorithms.motion.frame_sum import HalfSums

SHAPE = (96, 120)


def lump(place_yx):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 20 + 80 * np.exp(-((y - place_yx[0]) ** 2 + (x - place_yx[1]) ** 2) / (2 * 4.0**2))


@pytest.mark.parametrize("binning", [1.0, 2.0])
def test_a_moving_lump_stands_still_in_the_sum(binning, rng):
    shifts = np.array([[0.0, 0.0], [2.5, -3.0], [4.0, 1.5]])
    frames = [lump((40 + dy, 50 + dx)).astype(np.float32) for dy, dx in shifts]
    grid, scratch = frame_grid(SHAPE, binning), ScratchBuffers()
    with ThreadPoolExecutor(2) as pool:
        bad = find_bad_pixels(frames, None, 1e9, rng, pool)
        spectra = np.zeros((3, grid.binned_yx[0], grid.binned_yx[1] // 2 + 1), np.complex64)
        for i, frame in enumerate(frames):
            frame_spectrum(frame, i, None, bad, grid, spectra[i], scratch)
        sums = HalfSums(grid, scratch)
        sums.add(spectra[:2], shifts[:2], 0)
        sums.add(spectra[2:], shifts[2:], 2)
        out = (round(SHAPE[0] / binning), round(SHAPE[1] / binning))
        images = sums.images(bad.mean_counts, out, pool)
        total, even, odd = (image.copy() for image in images)
    assert_allclose(even + odd, total, rtol=1e-5)
    # Frames 0 and 2 are even.
    assert odd.mean() == pytest.approx(0.5 * even.mean(), rel=0.01)
    assert total.sum() == pytest.approx(sum(frame.sum() for frame in frames), rel=0.01)
    y, x = np.unravel_index(np.argmax(total), total.shape)
    assert (y, x) == (40 / binning, 50 / binning)
    # Three frames of 100 electrons a pixel at the lump's top, in pixels of binning squared.
    assert total.max() == pytest.approx(300 * binning**2, rel=0.03)
