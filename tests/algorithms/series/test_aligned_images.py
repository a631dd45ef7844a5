"""Images sampled in the frame of their tilt axis: contrast, splines, and what lies beyond the border."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.series.aligned_images import (
    contrast,
    contrast_spline,
    knot_shape,
    pose_affine,
    sample_aligned,
    spline_image,
)


def test_two_thirds_of_nyquist_pass_the_resampling():
    # A plane wave of 1/3 cycle per aligned pixel, turned by 85 degrees and moved.
    shape, binning, turn = (240, 250), 2.0, np.deg2rad(85)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    frequency = 1 / 3 / binning
    across = (x - 125 - 3.3) * np.cos(turn) + (y - 120 + 2.1) * np.sin(turn)
    image = torch.from_numpy(np.cos(2 * np.pi * frequency * across).astype(np.float32))
    knots = spline_image(image, (binning, binning))
    affine = pose_affine(
        shape,
        tuple(knots.shape),
        (60, 64),
        binning,
        axis_deg=85.0,
        tilt_deg=0.0,
        x_tilt_deg=0.0,
        shift_xy_px=(3.3, -2.1),
        magnification=1.0,
    )
    aligned = sample_aligned(knots, affine, 0, 60, 64).numpy()
    expected = np.broadcast_to(np.cos(2 * np.pi / 3 * (np.arange(64) - 32)), (60, 64))
    # The cubic B-spline's copies at 1/6 of the knots' frequency: 0.2 ** 4, and the transform's edges.
    np.testing.assert_allclose(aligned[10:-10, 10:-10], expected[10:-10, 10:-10], atol=0.01)


def test_contrast_is_relative_and_copes_with_floated_images(rng):
    counts = torch.from_numpy(rng.poisson(20, (64, 64)).astype(np.float32))
    assert float(contrast(counts).std()) == pytest.approx(20**-0.5, rel=0.05)
    assert float(contrast(counts - counts.mean()).std()) == pytest.approx(1, rel=0.01)


def test_low_frequencies_alone_give_the_spline_of_the_whole_image(rng):
    y, x = np.mgrid[:120, :150]
    counts = 50 + 10 * np.cos(2 * np.pi * (x / 30 + y / 40)) + rng.normal(0, 1, (120, 150))
    pixels = counts[None].astype(np.float32)
    short = contrast_spline(pixels, 0, None, 5.0, 3.0, ScratchBuffers(), "cpu")
    whole = spline_image(contrast(torch.from_numpy(pixels[0])), (3.0, 3.0))
    assert tuple(short.shape) == knot_shape((120, 150), (3.0, 3.0))
    torch.testing.assert_close(short, whole, rtol=0, atol=1e-5)


def test_a_shifted_image_is_sampled_at_its_shift_and_outside_there_is_nothing():
    y, x = np.mgrid[:96, :100]
    image = torch.from_numpy(np.exp(-((x - 70) ** 2 + (y - 40) ** 2) / (2 * 6.0**2)).astype(np.float32))
    knots = spline_image(image, (2.0, 2.0))
    affine = pose_affine(
        (96, 100), tuple(knots.shape), (64, 64), 2.0,
        axis_deg=0.0, tilt_deg=0.0, x_tilt_deg=0.0, shift_xy_px=(20.0, -8.0), magnification=1.0,
    )  # fmt: skip
    aligned = sample_aligned(knots, affine, 0, 64, 64).numpy()
    # The bump is at (20, -8) from the centre (50, 48): where the shift points.
    assert np.unravel_index(np.nanargmax(aligned), aligned.shape) == (32, 32)
    assert np.isnan(aligned[:, -12:]).all()
    np.testing.assert_allclose(np.nanmax(aligned), 1, atol=0.01)
    later = sample_aligned(knots, affine, 10, 5, 64, serial=True).numpy()
    np.testing.assert_allclose(later, aligned[10:15], atol=1e-6)
