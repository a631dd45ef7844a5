"""Rows continued beyond the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.images.extend_rows import extend_rows, extend_rows_serial


@pytest.mark.parametrize("extend", [extend_rows, extend_rows_serial])
def test_rows_continue_smoothly(extend):
    rows = torch.full((3, 40), torch.nan)
    rows[0, 10:30] = 2.0
    rows[1] = 1.0
    padded = torch.empty((1, 3, 80))
    extend(rows[None].numpy(), padded.numpy())
    padded = padded[0]
    np.testing.assert_allclose(padded[0, 30:50], 2)
    assert float(padded[0].diff().abs().max()) < 0.2
    np.testing.assert_allclose(padded[1, 20:60], 1)
    assert float(padded[1, 0]) < 0.1
    assert float(padded[1, -1]) < 0.1
    np.testing.assert_allclose(padded[2], 0)
