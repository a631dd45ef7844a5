"""Images corrected at several depths, beside whole images multiplied in Fourier space one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection import correct_depths as door
from cryoloom.kernels.projection.correct_depths import (
    METHODS,
    DepthFactors,
    TransformLengths,
    correct_depths,
)

N_COLUMNS, MARGIN, N_PADDED = 70, 14, 144
TAPS = np.array([0.6, -0.1], np.float32)
FORMS = np.array(
    [[8.0, 2.0, 7.0, 0.3, 0.05, 0.3, -0.8, 0.03], [-4.0, 0.0, 5.0, 0.2, -0.1, 0.4, 0.5, 0.2]], np.float32
)
FIRST_NODE, DEPTHS = np.array([0, 2, 3]), np.array([-3.0, 4.0, 1.5], np.float32)


def waves(rng, n_rows):
    """Smooth images ``(tilt, row, column)``: nothing near the last frequency, which has two signs."""
    white = np.fft.rfft2(rng.standard_normal((2, n_rows, N_COLUMNS)))
    y, x = np.fft.fftfreq(n_rows)[:, None], np.fft.rfftfreq(N_COLUMNS)
    smooth = white * np.exp(-((np.hypot(y, x) / 0.15) ** 2))
    images = np.fft.irfft2(smooth, s=(n_rows, N_COLUMNS)) * np.hanning(N_COLUMNS)
    return images.astype(np.float32)


def factor(tilt, depth, shape, method, noise):
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    d_xx, d_xy, d_yy, k_xx, k_xy, k_yy, fourth, constant = FORMS[tilt].astype(float)
    squared = k_xx * x * x + k_xy * x * y + k_yy * y * y
    turns = d_xx * x * x + d_xy * x * y + d_yy * y * y + fourth * squared**2 + constant - depth * squared
    c = np.sin(2 * np.pi * turns)
    return {"multiply": c, "phase_flip": np.where(c < 0, -1, 1), "wiener": c / (c**2 + noise)}[method]


@pytest.fixture(params=["vector code", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with vector code and with its portable twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "vector_code_fits", lambda _: False)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n_rows", "n_threads"), [(32, 1), (70, 2), (128, 3)])
def test_is_what_whole_images_give(rng, n_rows, n_threads, method):
    rows = waves(rng, n_rows + 2 * MARGIN)
    response = np.exp(-(((np.arange(N_PADDED // 2 + 1) / N_PADDED) / 0.3) ** 2))
    filters = np.tile(response, (2, 1))
    n_strips = -(-n_rows // 32)
    half = (n_strips + 1) // 2 * 32
    nodes = np.full((n_strips, 3, 2 * N_COLUMNS + 2, 32), np.nan, np.float32)
    correct_depths(
        torch.from_numpy(rows),
        torch.from_numpy(filters).float(),
        DepthFactors(
            torch.from_numpy(FORMS),
            torch.from_numpy(FIRST_NODE),
            torch.from_numpy(DEPTHS),
            METHODS.index(method),
            0.3,
        ),
        TransformLengths(N_PADDED, 100, {32: 64, 64: 96}[half]),
        MARGIN,
        torch.from_numpy(TAPS),
        n_threads,
        torch.from_numpy(nodes),
    )
    made = nodes.transpose(1, 0, 3, 2).reshape(3, -1, 2 * N_COLUMNS + 2)[:, :n_rows]
    assert np.isfinite(made).all()
    for tilt, some in enumerate((slice(0, 2), slice(2, 3))):
        filtered = np.fft.irfft(np.fft.rfft(rows[tilt], n=N_PADDED) * response, n=N_PADDED)
        shape = (n_rows + 2 * MARGIN + 200, N_PADDED + 200)
        spectrum = np.fft.rfft2(filtered, s=shape)
        for node, depth in zip(made[some], DEPTHS[some], strict=True):
            whole = np.fft.irfft2(spectrum * factor(tilt, depth, shape, method, 0.3), s=shape)
            expected = whole[MARGIN : MARGIN + n_rows, :N_COLUMNS]
            # What a margin of 14 pixels cuts off.
            inside = (slice(None), slice(8, -8))
            error = np.std((node[:, 1:-1:2] - expected)[inside]) / np.std(expected)
            assert error < (0.01 if method == "multiply" else 0.05)
            samples, between = node[:, 1:-1:2], node[:, 2:-1:2]
            expected = 0.6 * (samples[:, 1:-2] + samples[:, 2:-1])
            expected -= 0.1 * (samples[:, :-3] + samples[:, 3:])
            np.testing.assert_allclose(between[:, 1:-2], expected, atol=1e-4)
