"""Ridge points of a sphere become one vesicle, a plane stays open, rims beside them and noise go."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.membranes import link_points, membranes_of, strongest_across, thinned
from cryoloom.algorithms.picking.ridges import RidgePoints, half_sphere

VOXEL = 20.0
MIDDLE = np.array([20.0, 50.0, 50.0])


def joined(*parts):
    names = ("index_zyx", "directions", "score")
    return RidgePoints(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))


def sphere(radius, score, rng):
    """What the missing wedge leaves of a sphere; its directions are only known up to their sign."""
    toward = half_sphere(900)
    toward = np.concatenate([toward, -toward])
    toward = toward[np.abs(toward[:, 2]) < 0.85]
    index = MIDDLE + radius * toward[:, ::-1] + rng.normal(0, 0.2, toward.shape)
    signs = rng.choice([-1.0, 1.0], len(toward))[:, None]
    return RidgePoints(index, toward * signs, np.full(len(toward), score))


def plane(rng):
    y, x = np.mgrid[60:95, 5:40]
    index = np.stack([np.full(y.shape, 30.0), y, x], axis=-1).reshape(-1, 3) + rng.normal(
        0, 0.1, (35 * 35, 3)
    )
    return RidgePoints(index, np.broadcast_to([0.0, 0.0, 1.0], (35 * 35, 3)), np.full(35 * 35, 9.0))


def noise(n, rng):
    directions = rng.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return RidgePoints(rng.uniform(0, 1, (n, 3)) * [40, 100, 100], directions, np.full(n, 6.5))


def found_in(points):
    positions = (points.index_zyx - MIDDLE)[:, ::-1] * VOXEL
    return membranes_of(
        points, positions, VOXEL, patch_angstrom=0.0, sure_score=8.0, least_area_angstrom2=60_000.0
    )


def test_a_sphere_closes_and_a_plane_does_not(rng):
    points = joined(sphere(12.5, 9.0, rng), plane(rng), noise(2000, rng))
    vesicle, sheet = sorted(found_in(points), key=lambda one: not one.is_closed)
    assert vesicle.is_closed
    assert not sheet.is_closed
    away = np.linalg.norm(vesicle.points_xyz_angstrom, axis=1)
    assert (np.abs(away - 250.0) < 30).mean() > 0.97
    outward = (vesicle.points_xyz_angstrom / away[:, None] * vesicle.normals).sum(axis=1)
    assert np.median(outward) > 0.95
    assert (sheet.normals @ sheet.normals[0] > 0).all()
    assert_allclose(sheet.area_angstrom2, 700.0**2, rtol=0.1)


def test_a_rim_beside_a_membrane_goes_and_a_second_membrane_stays(rng):
    both = joined(sphere(12.5, 9.0, rng), sphere(16.0, 6.0, rng))
    kept = strongest_across(both, 7.0, 0.85)
    assert (kept.score == 9.0).mean() > 0.95
    equal = joined(sphere(12.5, 9.0, rng), sphere(16.0, 8.8, rng))
    assert len(strongest_across(equal, 7.0, 0.85).score) == len(equal.score)


def test_noise_and_nothing_are_no_membranes(rng):
    assert found_in(noise(3000, rng)) == []
    nothing = RidgePoints(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    assert len(link_points(nothing)) == 0
    assert found_in(strongest_across(nothing, 7.0, 0.85)) == []


def test_thinned_points_keep_their_distance(rng):
    (vesicle,) = found_in(sphere(12.5, 9.0, rng))
    thin = thinned(vesicle, 60.0)
    apart = np.linalg.norm(thin.points_xyz_angstrom[:, None] - thin.points_xyz_angstrom, axis=2)
    assert apart[apart > 0].min() >= 60.0
    assert len(thin.score) > 50
