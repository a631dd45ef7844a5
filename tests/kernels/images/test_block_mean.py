"""Means over blocks, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images import block_mean as door
from cryoloom.kernels.images.block_mean import block_mean

VERSIONS = pytest.mark.parametrize("use_twin", [False, True], ids=["numba", "torch"])


@VERSIONS
@pytest.mark.parametrize(("shape", "factor"), [((12, 15), 3), ((8, 9), 1), ((10, 23), 5)])
def test_blocks_are_averaged_and_the_rest_is_dropped(rng, shape, factor, use_twin, monkeypatch):
    if use_twin:
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    rows = rng.normal(size=shape).astype(np.float32)
    n_y, n_x = (n // factor for n in shape)
    out = torch.full((n_y, n_x), torch.nan)
    block_mean(torch.from_numpy(rows), out)
    whole = rows[: n_y * factor, : n_x * factor].reshape(n_y, factor, n_x, factor)
    np.testing.assert_allclose(out, whole.mean(axis=(1, 3)), rtol=1e-5, atol=1e-6)


@VERSIONS
def test_what_is_not_finite_counts_as_zero(use_twin, monkeypatch):
    if use_twin:
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    out = torch.empty((1, 1))
    block_mean(torch.tensor([[1, torch.nan], [torch.inf, 3]]), out)
    assert float(out[0, 0]) == 1.0


def test_rows_must_be_whole_blocks():
    with pytest.raises(ValueError, match=r"rows \(5, 4\) are no whole blocks of \(2, 2\)"):
        block_mean(torch.zeros((5, 4)), torch.zeros((2, 2)))
