from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.kernels.projection.specimen_layers import slab_in_layer, stamp_clouds


@pytest.mark.parametrize("n_layers", [1, 7])
@pytest.mark.parametrize("shape", [(40, 50), (41, 51)])
def test_points_keep_their_mass_and_place_in_layers(n_layers, shape, rng):
    points = rng.uniform(-40, 40, (200, 3)).astype(np.float32)
    weights = rng.uniform(0.5, 1.5, 200).astype(np.float32)
    layers = np.zeros((n_layers, *shape), np.float32)
    reach = np.array([70.0], np.float32)
    stamp_clouds(
        torch.from_numpy(layers), torch.from_numpy(points), torch.from_numpy(weights),
        torch.tensor([[0, 200]]), torch.from_numpy(reach), torch.eye(3)[None], torch.zeros((1, 3)), -40.0,
        80.0 / n_layers, 3.0, 0, n_layers,
    )  # fmt: skip
    assert layers.sum() == pytest.approx(weights.sum(), rel=1e-5)
    z = np.floor((points[:, 2] + 40) / (80 / n_layers))
    for layer in range(n_layers):
        assert layers[layer].sum() == pytest.approx(weights[z == layer].sum(), rel=1e-4)
    # A B-spline keeps first moments: the centre of mass is where the points have it.
    rows, columns = np.indices(shape)
    flat = layers.sum(axis=0)
    centre = np.array([(rows * flat).sum(), (columns * flat).sum()]) / flat.sum()
    expected = np.average(points[:, 1::-1], axis=0, weights=weights) / 3.0 + np.array(shape) // 2
    assert_allclose(centre, expected, atol=1e-3)


def test_layers_share_the_path_through_a_tilted_slab():
    edges = np.linspace(-100, 100, 9)
    total = np.zeros((20, 30))
    for low, high in pairwise(edges):
        layer = np.empty((20, 30), np.float32)
        n = slab_in_layer(torch.from_numpy(layer), (15.0, 10.0), (1.5, -0.7), 5.0, 40.0, low, high)
        assert n == np.count_nonzero(layer)
        total += layer.astype(float) ** 2
    # The slab stays within the layers everywhere: 5 + 1.5 * 15 + 0.7 * 10 + 40 < 100.
    assert_allclose(total, 80.0, rtol=1e-5)
