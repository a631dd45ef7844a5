"""Images mixed where they are read beside whole images mixed for every slab."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.reconstruction.depth_basis import DepthBasis, polynomial_basis
from cryoloom.kernels.projection import backproject_deep as door
from cryoloom.kernels.projection.backproject import back_project
from cryoloom.kernels.projection.backproject_deep import DepthMixtures, back_project_deep

BASES = (
    DepthBasis(np.array([-80.0, 0.0, 90.0]), linear=False),
    DepthBasis(np.array([10.0]), linear=False),
    DepthBasis(np.array([-100.0, -40.0, 20.0, 80.0]), linear=True),
)
LINES = np.array([[-150.0, 2.0, 3.0], [0.0, 1.0, 1.0], [120.0, -1.5, -2.0]])
# The last tilt leaves the images at both ends.
COLUMNS = np.array([[3.0, 1.7, 0.8], [1.0, 2.0, 0.0], [-20.0, 1.1, 4.0]], np.float32)


@pytest.fixture(params=["vector code", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with vector code and with its portable twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "vector_code_fits", lambda _: False)


def mixtures_of(*arrays):
    return DepthMixtures(*(torch.from_numpy(array) for array in arrays))


@pytest.mark.parametrize("slab_voxels", [1, 5, 16])
@pytest.mark.parametrize(("n_z", "n_y", "n_x"), [(37, 32, 70), (9, 11, 33)])
def test_is_what_slabs_of_mixed_images_give(rng, n_z, n_y, n_x, slab_voxels):
    first_node = np.cumsum([0, *(len(basis.depths) for basis in BASES)])
    nodes = rng.standard_normal((first_node[-1], 150, 32)).astype(np.float32)
    nodes[:, [0, -2, -1]] = 0  # back_project reads a thousandth of the last but one beyond the end
    volume = torch.full((n_z, n_y, n_x), torch.nan)
    mixtures = mixtures_of(
        first_node,
        np.concatenate([basis.depths for basis in BASES]),
        np.concatenate([basis.scales for basis in BASES]),
        LINES,
        np.array([basis.range for basis in BASES]),
        np.array([basis.step for basis in BASES]),
    )
    back_project_deep(torch.from_numpy(nodes), mixtures, torch.from_numpy(COLUMNS), slab_voxels, volume)

    expected = torch.empty((n_z, n_y, n_x))
    for z in range(0, n_z, slab_voxels):
        stop = min(n_z, z + slab_voxels)
        images = np.empty((3, 150, 32), np.float32)
        for t, (basis, (d0, dc, dz)) in enumerate(zip(BASES, LINES, strict=True)):
            weights = basis.weights(d0 + dc * np.arange(150) + dz * 0.5 * (z + stop - 1))
            images[t] = np.einsum("kcy,kc->cy", nodes[first_node[t] : first_node[t + 1]], weights)
        columns = COLUMNS + np.outer(COLUMNS[:, 2], [z, 0, 0]).astype(np.float32)
        back_project(torch.from_numpy(images), torch.from_numpy(columns), expected[z:stop])
    np.testing.assert_allclose(volume, expected, atol=2e-4)


def test_many_depths_far_apart(rng):
    # The products of 20 distances of 1000 A, and their inverse, are beyond single precision.
    basis = polynomial_basis(-4000, 4000, 0.002, 1e-3)
    n = len(basis.depths)
    assert n > 15
    polynomial = np.cos(0.002 * basis.depths + 0.3)
    nodes = np.repeat(polynomial.astype(np.float32), 60 * 32).reshape(n, 60, 32)
    lines = np.array([[-4000.0, 130.0, 0.0]])
    mixtures = mixtures_of(
        np.array([0, n]), basis.depths, basis.scales, lines, np.array([basis.range]), np.zeros(1)
    )
    volume = torch.empty((3, 32, 58))
    back_project_deep(torch.from_numpy(nodes), mixtures, torch.tensor([[1.0, 1.0, 0.0]]), 3, volume)
    expected = np.cos(0.002 * (-4000 + 130 * np.arange(1, 59)) + 0.3)
    np.testing.assert_allclose(volume, np.broadcast_to(expected, volume.shape), atol=2e-3)


def test_nodes_and_their_depths_must_fit():
    nodes, columns = torch.zeros((2, 10, 32)), torch.from_numpy(COLUMNS[:1])
    one = np.zeros(1)
    mixtures = mixtures_of(np.array([0, 1]), one, one, np.zeros((1, 3)), np.zeros((1, 2)), one)
    with pytest.raises(ValueError, match="a depth for each of 2 nodes"):
        back_project_deep(nodes, mixtures, columns, 4, torch.zeros((4, 32, 8)))
