"""Sheets and rods of known direction are found, each by its own template."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.ridges import half_sphere, ridge_points, ridge_response

SHAPE = (30, 41, 48)
NORMAL = np.array([0.6, 0.48, 0.64])


def body(kind, rng):
    """A plane with a normal, or a line along it, through the middle, in noise."""
    z, y, x = (np.arange(n) - n // 2 for n in SHAPE)
    place = np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1], axis=-1).astype(float)
    along = place @ NORMAL
    distance = along if kind == "sheet" else np.linalg.norm(place - along[..., None] * NORMAL, axis=-1)
    density = np.exp(-0.5 * distance**2) + rng.normal(0, 0.2, SHAPE)
    return torch.tensor(density, dtype=torch.float32), np.abs(distance)


def test_half_a_sphere_is_covered_evenly():
    directions = half_sphere(200)
    assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    assert_allclose(directions.mean(axis=0), [0, 0, 0.5], atol=0.01)
    nearest = np.sort(directions @ directions.T, axis=1)[:, -2]
    assert np.rad2deg(np.arccos(nearest)).min() > 5


@pytest.mark.parametrize("kind", ["sheet", "rod"])
def test_points_lie_on_the_crest_and_know_its_direction(kind, rng):
    volume, distance = body(kind, rng)
    response = ridge_response(volume, kind, 1.0, 3.0, 120)
    points = ridge_points(response, kind, 8.0)
    assert len(points.score) > (300 if kind == "sheet" else 15)
    at = np.rint(points.index_zyx).astype(int)
    inside = ((at > 3) & (at < np.array(SHAPE) - 4)).all(axis=1)
    assert np.median(distance[tuple(at[inside].T)]) < 0.7
    assert np.median(np.abs(points.directions[inside] @ NORMAL)) > np.cos(np.deg2rad(12))


def test_a_ball_is_neither():
    z, y, x = (np.arange(n) - n // 2 for n in SHAPE)
    squared = z[:, None, None] ** 2 + y[:, None] ** 2 + x**2
    rng = np.random.default_rng(3)
    volume = torch.tensor(np.exp(-squared / 8.0) + rng.normal(0, 0.2, SHAPE), dtype=torch.float32)
    sheet, _ = body("sheet", rng)
    of_ball, of_sheet = (ridge_response(one, "sheet", 1.0, 3.0, 60).score.max() for one in (volume, sheet))
    assert of_ball < 0.5 * of_sheet
