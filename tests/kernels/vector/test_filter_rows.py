"""Rows continued, filtered, turned and made twice finer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images.extend_rows import extend_rows
from cryoloom.kernels.vector.column_transform import plan_transform
from cryoloom.kernels.vector.filter_rows import extend_turned, filter_rows, refine_columns


def seen_in_part(rng, shape):
    """Rows that begin and end at different pixels; the first has no image at all."""
    rows = rng.standard_normal(shape).astype(np.float32)
    for image in rows:
        for i, row in enumerate(image):
            row[: i % 5] = np.nan
            row[len(row) - i % 3 :] = np.nan
        image[0] = np.nan
    return rows


@pytest.mark.parametrize(("n_columns", "n_padded"), [(50, 100), (51, 108), (8, 9), (64, 64)])
def test_rows_are_continued_as_they_are_one_by_one(rng, n_columns, n_padded):
    rows = seen_in_part(rng, (1, 45, n_columns))
    columns = np.full((n_padded, 32), np.nan, np.float32)
    extend_turned(rows[0], 4, 35, columns)
    padded = np.empty((1, 45, n_padded), np.float32)
    extend_rows(torch.from_numpy(rows), torch.from_numpy(padded))
    np.testing.assert_allclose(columns[:, :16], padded[0, 4:20].T, atol=1e-5)
    np.testing.assert_allclose(columns[:, 16:26], padded[0, 35:].T, atol=1e-5)
    np.testing.assert_array_equal(columns[:, 26:], 0)


@pytest.mark.parametrize(("n", "spare"), [(200, 20), (65, 3), (2, 3)])
def test_columns_are_samples_and_sums_of_their_neighbours(rng, n, spare):
    taps = rng.standard_normal(3).astype(np.float32)
    samples = rng.standard_normal((n + 2 * spare, 32)).astype(np.float32)
    columns = np.full((2 * n + 2, 32), np.nan, np.float32)
    refine_columns(samples, spare, taps, columns)
    expected = np.zeros_like(columns)
    at = spare + np.arange(n)
    expected[1:-1:2] = samples[at]
    expected[2:-1:2] = sum(tap * (samples[at - k] + samples[at + 1 + k]) for k, tap in enumerate(taps))
    np.testing.assert_allclose(columns, expected, atol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_strips_are_filtered_rows(rng, n_threads):
    n_columns, n_padded, taps = 90, 180, np.array([0.6, -0.1], np.float32)
    rows = seen_in_part(rng, (5, 40, n_columns))
    transform = plan_transform(n_padded)
    response = rng.random((5, n_padded // 2 + 1))
    factors = response[:, np.minimum(transform.order, n_padded - transform.order)] / n_padded
    work = np.empty((n_threads, n_padded, 32), np.float32)
    columns = np.full((5, 2 * n_columns + 2, 32), np.nan, np.float32)
    filter_rows(rows, 20, factors.astype(np.float32), transform, taps, work, columns)
    padded = np.empty((5, 40, n_padded), np.float32)
    extend_rows(torch.from_numpy(rows), torch.from_numpy(padded))
    filtered = np.fft.irfft(np.fft.rfft(padded) * response[:, None], n=n_padded)
    samples = filtered[:, 20:, 45:135].transpose(0, 2, 1)
    np.testing.assert_allclose(columns[:, 1:-1:2, :20], samples, atol=1e-5)
    between = 0.6 * (samples[:, :-1] + samples[:, 1:])
    between[:, 1:-1] -= 0.1 * (samples[:, :-3] + samples[:, 3:])
    np.testing.assert_allclose(columns[:, 4:-4:2, :20], between[:, 1:-1], atol=1e-5)
    np.testing.assert_allclose(columns[:, :, 20:], 0, atol=1e-6)
