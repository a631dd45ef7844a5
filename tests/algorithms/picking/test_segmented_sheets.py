"""Points on the middle of marked sheets, with their normals."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.picking.segmented_sheets import sheet_points


@pytest.mark.parametrize("shape", [(40, 44, 48), (41, 43, 45)])
def test_a_shell_gives_its_sphere(shape):
    centre, radius = np.array([20.0, 21.0, 22.0]), 13.0
    distance = np.linalg.norm(np.moveaxis(np.indices(shape), 0, -1) - centre, axis=-1)
    points = sheet_points(np.abs(distance - radius) < 2.0, 2.0)
    rays = points.index_zyx - centre
    found = np.linalg.norm(rays, axis=1)
    # A voxel thick: about one point a voxel of the sphere's area.
    assert 0.5 < len(found) / (4 * np.pi * radius**2) < 1.6
    assert np.abs(found - radius).max() < 1.5
    assert abs(found.mean() - radius) < 0.4
    cosine = np.abs(np.einsum("nd,nd->n", rays[:, ::-1] / found[:, None], points.directions))
    assert np.median(cosine) > 0.98


def test_nothing_marked():
    assert len(sheet_points(np.zeros((8, 8, 8), dtype=bool), 1.0).score) == 0
