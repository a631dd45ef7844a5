"""Rows continued, filtered, turned and made twice finer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.rows import filter_rows as door
from cryoloom.kernels.rows.extend_rows import extend_rows
from cryoloom.kernels.rows.filter_rows import filter_rows
from makers.rows import seen_in_part


@pytest.fixture(params=["vector code", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with vector code and with its portable twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "vector_code_fits", lambda _: False)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_strips_are_filtered_rows(rng, n_threads):
    n_columns, n_padded, taps = 90, 180, np.array([0.6, -0.1], np.float32)
    rows = seen_in_part(rng, (5, 40, n_columns))
    response = rng.random((5, n_padded // 2 + 1))
    work = np.empty((n_threads, n_padded, 32), np.float32)
    columns = np.full((5, 2 * n_columns + 2, 32), np.nan, np.float32)
    filter_rows(
        torch.from_numpy(rows),
        20,
        torch.from_numpy(response).float(),
        torch.from_numpy(taps),
        torch.from_numpy(work),
        torch.from_numpy(columns),
    )
    padded = np.empty((5, 40, n_padded), np.float32)
    extend_rows(torch.from_numpy(rows), torch.from_numpy(padded))
    filtered = np.fft.irfft(np.fft.rfft(padded) * response[:, None], n=n_padded)
    samples = filtered[:, 20:, 45:135].transpose(0, 2, 1)
    np.testing.assert_allclose(columns[:, 1:-1:2, :20], samples, atol=1e-5)
    between = 0.6 * (samples[:, :-1] + samples[:, 1:])
    between[:, 1:-1] -= 0.1 * (samples[:, :-3] + samples[:, 3:])
    np.testing.assert_allclose(columns[:, 4:-4:2, :20], between[:, 1:-1], atol=1e-5)
    np.testing.assert_allclose(columns[:, :, 20:], 0, atol=1e-6)


def test_shapes_are_checked():
    rows, taps = torch.zeros((2, 40, 90)), torch.zeros(2)
    work, columns = torch.zeros((1, 180, 32)), torch.zeros((2, 180, 32))
    with pytest.raises(ValueError, match="do not fit columns"):
        filter_rows(rows, 0, torch.zeros((2, 91)), taps, work, columns)
