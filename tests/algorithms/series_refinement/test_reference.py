"""References carry the amplitude that images show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.fourier_cube import cube_of_map
from cryoloom.algorithms.averaging.half_plane import HalfPlane
from cryoloom.algorithms.averaging.particle_images import BoxLayout, ParticleImages
from cryoloom.algorithms.averaging.shell_correlation import soft_sphere
from cryoloom.algorithms.series_refinement.reference import reference_cubes, scaled_to
from cryoloom.algorithms.series_refinement.shift_scores import projections
from cryoloom.geometry.projection import projection_matrices


@pytest.fixture
def density():
    n = 24
    grid = np.indices((n,) * 3) - n // 2
    return torch.tensor(
        sum(np.exp(-sum((g - c) ** 2 for g, c in zip(grid, place, strict=True)) / 6.0)
            for place in ((0, 2, 3), (-3, -2, 0), (3, 0, -4))), dtype=torch.float32
    )  # fmt: skip


def test_the_scale_of_the_images_is_found(density):
    layout = BoxLayout(24, 24, 24, 5.0)
    mask = soft_sphere(24, 8.0, 3.0)
    cubes = reference_cubes((density, density), mask, np.ones(13), 5.0, 12.0, layout)
    plane = HalfPlane.of_box(24, 5.0)
    matrices = projection_matrices(0.0, np.array([-30.0, 0.0, 30.0]), 0.0)
    shape = (2, 3, len(plane.kxy))
    images = ParticleImages(
        plane, matrices, np.arange(3), np.zeros(shape, np.complex64), np.ones(shape, np.float32),
        np.ones((2, 3), bool),
    )  # fmt: skip
    which, rotations = np.array([0, 1]), np.broadcast_to(np.eye(3), (2, 3, 3))
    model = projections(images, cubes, which, rotations, slice(0, 2), shape[2])
    images.data[:] = 0.37 * model.numpy()
    scaled, factor = scaled_to(images, cubes, which, rotations, shape[2])
    assert_allclose(factor, 0.37, rtol=1e-4)
    assert_allclose(scaled[0].numpy(), 0.37 * cubes[0].numpy(), rtol=1e-3, atol=1e-4)


def test_shells_that_do_not_agree_are_empty(density):
    layout = BoxLayout(24, 24, 24, 5.0)
    correlation = np.array([1.0] * 5 + [0.01] * 3 + [0.9] * 5)
    cube = reference_cubes((density, density), soft_sphere(24, 8.0, 3.0), correlation, 5.0, 10.0, layout)[0]
    whole = cube_of_map(density, float(layout.plane.radius[-1]))
    middle = cube.shape[0] // 2
    # Twice padded: shell 10 is at 20 cells. A later rise is not believed.
    assert cube[middle, middle, 20].abs() < 0.05 * whole[middle, middle, 2].abs()
