"""Images summed at the projections of a grid's points."""

import numpy as np
import pytest
import torch

from cryoloom.kernels.projection.sum_on_grid import sum_on_grid
from cryoloom.kernels.projection.sum_on_grid_torch import sum_on_grid_torch

SHAPE_ZYX = (5, 7, 9)


def drawn_places(rng, n_views):
    """Views over images of about 40 pixels a side; some points lie outside."""
    places = rng.uniform(-3, 3, (n_views, 2, 4))
    places[:, :, 0] = rng.uniform(5, 35, (n_views, 2))
    return places


def summed(version, images, places, *arguments):
    summing = {"numba": sum_on_grid, "torch": sum_on_grid_torch}[version]
    return summing(images, torch.from_numpy(places), *arguments)


@pytest.mark.parametrize("version", ["numba", "torch"])
@pytest.mark.parametrize("shape_yx", [(40, 40), (41, 38)])
def test_a_linear_image_is_summed_exactly(version, shape_yx, rng):
    y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
    images = torch.from_numpy(np.stack([2 * x + 3 * y, 0 * x + 1]).astype(np.float32))
    places = drawn_places(rng, 2)
    total, count = summed(version, images, places, SHAPE_ZYX, 1.5)
    expected, inside = np.zeros(SHAPE_ZYX), np.zeros(SHAPE_ZYX)
    for z, v, u in np.ndindex(SHAPE_ZYX):
        for view in range(2):
            column, row = places[view] @ [1, u, v, z]
            if 1.5 <= column <= shape_yx[1] - 2.5 and 1.5 <= row <= shape_yx[0] - 2.5:
                expected[z, v, u] += (2 * column + 3 * row) if view == 0 else 1
                inside[z, v, u] += 1
    np.testing.assert_array_equal(count.numpy(), inside)
    assert 0 < inside.mean() < 2  # some points lie inside and some outside
    np.testing.assert_allclose(total.numpy(), expected, rtol=1e-4, atol=1e-3)


def test_both_versions_agree(rng):
    images = torch.from_numpy(rng.normal(size=(4, 33, 40)).astype(np.float32))
    places = drawn_places(rng, 4)
    fast, plain = (summed(version, images, places, SHAPE_ZYX, 0.0) for version in ("numba", "torch"))
    np.testing.assert_array_equal(fast[1].numpy(), plain[1].numpy())
    np.testing.assert_allclose(fast[0].numpy(), plain[0].numpy(), atol=1e-4)


def test_places_of_another_number_of_views_are_refused(rng):
    with pytest.raises(ValueError, match="expected float32 images and places"):
        sum_on_grid(torch.zeros(3, 8, 8), torch.zeros((2, 2, 4), dtype=torch.float64), SHAPE_ZYX, 0.0)
