"""Weighted sums of images at several depths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection import blend_depths as door
from cryoloom.kernels.projection.blend_depths import blend_depths


@pytest.mark.parametrize("use_twin", [False, True], ids=["numba", "torch"])
def test_is_the_weighted_sum_where_used_and_nothing_elsewhere(rng, device, use_twin, monkeypatch):
    if use_twin:
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)
    first_node = torch.tensor([0, 3, 4])
    used = torch.tensor([[2, 130], [0, 7]])
    nodes = torch.from_numpy(rng.standard_normal((4, 140, 32)).astype(np.float32)).to(device)
    weights = torch.from_numpy(rng.standard_normal((4, 140)).astype(np.float32)).to(device)
    weights[1, 50] = 0
    images = torch.full((2, 140, 32), torch.nan, device=device)
    blend_depths(nodes, weights, first_node, used, images)
    for t in (0, 1):
        own, columns = slice(first_node[t], first_node[t + 1]), slice(*used[t])
        expected = (nodes * weights[..., None])[own, columns].sum(dim=0)
        torch.testing.assert_close(images[t, columns], expected)
        assert torch.isnan(images[t]).any(dim=1).sum() == 140 - (used[t, 1] - used[t, 0])
