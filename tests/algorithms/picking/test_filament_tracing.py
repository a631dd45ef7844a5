"""Centre-lines of points on rods: kept apart where they cross, joined across gaps, freed of fringes."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.picking.filament_tracing import (
    centre_line,
    link_rods,
    strongest_beside,
    trace_rods,
)
from cryoloom.algorithms.picking.ridges import RidgePoints

VOXEL = 20.0


def line(start, direction, n, score=12.0, step=1.0, rng=None):
    """Points (x, y, z in voxels) of a straight rod."""
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    xyz = np.asarray(start, float) + step * np.arange(n)[:, None] * direction
    if rng is not None:
        xyz = xyz + rng.normal(0, 0.2, xyz.shape)
    return xyz[:, ::-1], np.tile(direction, (n, 1)), np.full(n, score)


def points_of(*lines):
    index, directions, score = (np.concatenate(parts) for parts in zip(*lines, strict=True))
    return RidgePoints(index, directions, score)


def traced(points, **more):
    settings = {
        "diameter_angstrom": 80.0, "sure_score": 9.0, "least_length_angstrom": 200.0,
        "largest_gap_angstrom": 150.0,
    } | more  # fmt: skip
    return trace_rods(points, points.index_zyx[:, ::-1] * VOXEL, VOXEL, **settings)


def test_rods_that_cross_are_two(rng):
    points = points_of(line((0, 20, 10), (1, 0, 0), 41, rng=rng), line((20, 0, 10), (0, 1, 0), 41, rng=rng))
    found = traced(points)
    assert len(found) == 2
    for one in found:
        curve = one.curve.points_xyz_angstrom
        spread = np.ptp(curve, axis=0)
        assert sorted(spread)[1] < 40
        assert 720 < one.curve.length_angstrom < 860
        assert one.bend_radius_angstrom > 500


def test_a_gap_is_bridged_up_to_its_limit(rng):
    points = points_of(
        line((0, 0, 0), (1, 0.1, 0), 20, rng=rng), line((25, 2.5, 0), (1, 0.1, 0), 20, rng=rng)
    )
    assert len(traced(points)) == 1
    assert len(traced(points, largest_gap_angstrom=60.0)) == 2


def test_a_weak_parallel_ridge_is_a_fringe(rng):
    points = points_of(
        line((0, 0, 0), (1, 0, 0), 40, score=20.0, rng=rng),
        line((0, 3, 0), (1, 0, 0), 40, score=10.0, rng=rng),
    )
    strongest = strongest_beside(points, 4.0)
    assert not strongest[40:].any()
    assert len(traced(points)) == 1
    # As strong and more than a diameter off, it is a filament of a bundle.
    bundle = points_of(
        line((0, 0, 0), (1, 0, 0), 40, score=20.0, rng=rng),
        line((0, 6, 0), (1, 0, 0), 40, score=18.0, rng=rng),
    )
    assert len(traced(bundle)) == 2


def test_weak_and_short_ones_are_left_out(rng):
    points = points_of(line((0, 0, 0), (1, 0, 0), 40, score=7.0, rng=rng))
    assert traced(points) == []
    assert traced(points, sure_score=6.0)
    assert traced(points, sure_score=6.0, least_length_angstrom=2000.0) == []
    nothing = RidgePoints(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    assert traced(nothing) == []


def test_the_way_goes_over_the_crest():
    crest = line((0, 0, 0), (1, 0, 0), 30, score=20.0)
    beside = line((0, 1, 0), (1, 0, 0), 30, score=5.0)
    points = points_of(crest, beside)
    way = centre_line(link_rods(points), np.arange(60), points.index_zyx)
    inner = way[2:-2]
    assert (inner < 30).all()
    assert len(way) >= 10
