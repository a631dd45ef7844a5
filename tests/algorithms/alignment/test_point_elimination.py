"""Elimination of points gives the solution of the whole normal equations."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.alignment.point_elimination import EliminatedPoints


def test_the_reduced_system_has_the_solution_of_the_whole(rng):
    n_views, n_points = 7, 4
    design = rng.normal(0, 1, (60, n_views + 3 * n_points))
    owner = rng.integers(0, n_points, 60)
    for point in range(n_points):  # an observation is of one point
        design[owner != point, n_views + 3 * point : n_views + 3 * point + 3] = 0
    whole = design.T @ design + 1e-3 * np.eye(design.shape[1])
    right = rng.normal(0, 1, len(whole))
    expected = np.linalg.solve(whole, right)
    blocks = np.stack([whole[n_views + 3 * p :, n_views + 3 * p :][:3, :3] for p in range(n_points)])
    part = EliminatedPoints.of(whole[:n_views, n_views:], blocks, right[n_views:].reshape(-1, 3))
    reduced = whole[:n_views, :n_views] - part.normal
    unknowns = np.linalg.solve(reduced, right[:n_views] - part.right_of_views)
    assert_allclose(unknowns, expected[:n_views], rtol=1e-8)
    assert_allclose(part.points(unknowns).ravel(), expected[n_views:], rtol=1e-8)
