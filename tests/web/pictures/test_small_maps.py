"""Small versions of maps keep their means, and their surfaces lie where the density is."""

import numpy as np
import pytest

from cryoloom.web.pictures.small_maps import outline_of, small_position, small_volume


def test_the_small_volume_keeps_means():
    values = np.random.default_rng(1).standard_normal((8, 200, 100)).astype(np.float32)
    small, low, high = small_volume(values, values.shape)
    assert small.shape == (2, 66, 33)
    back = low + small.astype(float) * (high - low) / 255
    np.testing.assert_allclose(back[0, 5, 7], values[:3, 15:18, 21:24].mean(), atol=0.6 * (high - low) / 255)


@pytest.mark.parametrize("n", [24, 48, 60])
def test_an_outline_is_a_surface_about_the_maps_centre(n):
    """A ball off the centre of the map, in angstrom from index n // 2 whatever the map was averaged by."""
    size, radius, centre = 5.0, 0.2 * n * 5.0, np.array([30.0, -15.0, 10.0])
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * size] * 3, indexing="ij")
    distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    outline = outline_of((distance < radius).astype(np.float32), (n, n, n), size)
    vertices = outline.vertices_xyz_angstrom
    np.testing.assert_allclose(vertices.mean(axis=0), centre, atol=3.0)
    reach = np.linalg.norm(vertices - centre, axis=1)
    assert abs(float(np.median(reach)) - radius) < 0.1 * radius
    assert 100 < len(outline.triangles) < 5000


def test_positions_of_a_map_that_was_not_averaged_are_its_own():
    np.testing.assert_array_equal(
        small_position(np.array([[0.0, 5.0, 10.0]], dtype=np.float32), (20, 20, 20)), [[-10.0, -5.0, 0.0]]
    )
