"""A mask about a planted body, and about none."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.map_quality.density_mask import density_mask, soft_edge

N, VOXEL = 48, 3.0


def distance_from(place_zyx):
    z, y, x = np.indices((N, N, N))
    return VOXEL * np.sqrt((z - place_zyx[0]) ** 2 + (y - place_zyx[1]) ** 2 + (x - place_zyx[2]) ** 2)


def test_the_mask_follows_the_body_and_leaves_a_speck_out(rng):
    centre = (24, 24, 24)
    z, y, x = np.indices((N, N, N)) - 24
    body = (x * VOXEL / 36) ** 2 + (y * VOXEL / 24) ** 2 + (z * VOXEL / 24) ** 2 <= 1
    density = np.where(body, 1.0, 0.0) + 0.2 * rng.standard_normal((N, N, N))
    density[distance_from((24, 24 + 15, 24)) < 5] = 1.0  # 45 A from the centre: a neighbour's
    mask = density_mask(torch.tensor(density, dtype=torch.float32), VOXEL, 100.0).numpy()
    assert (mask[body] > 0.9).mean() > 0.99
    far = distance_from(centre) > 60
    assert (mask[far] == 0).all()
    assert mask[24, 24 + 15, 24] < 0.1
    # Longer along x, as the body is.
    assert mask[24, 24, 24 + 13] > 0.9
    assert mask[24, 24 - 13, 24] < 0.9


def test_a_solid_grows_and_falls_as_a_cosine():
    solid = distance_from((24, 24, 24)) <= 15.0
    mask = soft_edge(solid, VOXEL, 6.0, 12.0).numpy()
    line = mask[24, 24, 24:]
    distance = 3.0 * np.arange(24) - 15.0
    expected = 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - 6.0) / 12.0, 0, 1))
    assert_allclose(line[:16], expected[:16], atol=1e-6)
    assert (mask[0] == 0).all()


def test_nothing_above_the_noise_is_no_mask():
    assert float(soft_edge(np.zeros((N, N, N), bool), VOXEL, 6.0, 12.0).abs().max()) == 0.0
