"""Grids about known directions: what they hold, and that they find turned and moved particles."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.algorithms.averaging.directed_search import DirectedGrid, carried_directions, like_directions
from cryoloom.algorithms.averaging.passes import Poses, SearchGrid, search_pass
from cryoloom.algorithms.averaging.pose_refinement import PosePrior
from cryoloom.geometry.orientation_grid import even_directions, rotations_between, z_axis_to
from cryoloom.model import ParticleRows
from makers.posed_images import made_images, random_cube

GRID = DirectedGrid(
    azimuth_step_deg=30.0,
    cone_step_deg=10.0,
    cone_reach_deg=10.0,
    along_angstrom=30.0,
    normal_angstrom=10.0,
    shift_step_angstrom=10.0,
)


def test_every_direction_is_in_one_group_and_near_its_middle():
    directions = even_directions(100)
    groups = like_directions(directions)
    assert sorted(np.concatenate([members for _, members in groups])) == list(range(100))
    for middle, members in groups:
        # Cells of 15 degrees reach less than 12.
        assert (directions[members] @ middle > np.cos(np.deg2rad(12))).all()
    assert like_directions(np.zeros((0, 3))) == []


def test_rotations_lie_in_the_cone_and_shifts_in_a_flat_cylinder():
    direction = np.array([[0.6, 0.0, 0.8]])
    ((members, rotations, shifts),) = GRID.parts(direction)
    (middle, _) = like_directions(direction)[0]
    assert_allclose(members, [0])
    # The axis itself and its four neighbours, and twelve azimuths.
    assert len(rotations) == 5 * 12
    tilt = np.rad2deg(np.arccos(np.clip(rotations[:, :, 2] @ middle, -1, 1)))
    assert np.unique(tilt.round(3)).tolist() == [0.0, 10.0]
    assert len({tuple(one.round(6).ravel()) for one in rotations}) == len(rotations)
    height = shifts @ middle
    assert np.unique(height.round(3)).tolist() == [-10.0, 0.0, 10.0]
    assert np.linalg.norm(shifts - height[:, None] * middle, axis=1).max() == pytest.approx(30.0)
    # 29 places of a square lattice lie within three steps.
    assert len(shifts) == 3 * 29
    assert not shifts[0].any()


def test_a_search_about_directions_finds_azimuths_and_places_far_along_the_surface():
    rng = np.random.default_rng(4)
    cube = random_cube(rng)
    normals = even_directions(12)
    true = z_axis_to(normals, rng.uniform(0, 360, 12))
    sideways = np.cross(normals, [0.3, 0.8, 0.5])
    moved = 20.0 * sideways / np.linalg.norm(sideways, axis=1, keepdims=True)
    images = made_images(cube, true, moved, 60.0, rng)
    start = Poses(
        1 + np.arange(12) % 2, np.tile(np.eye(3), (12, 1, 1)), np.zeros((12, 3)),
        PosePrior(12.0, normals, np.full(12, 10.0)),
    )  # fmt: skip
    grid = DirectedGrid(15.0, 8.0, 8.0, 30.0, 8.0, 4.0)
    found = search_pass(images, [cube, cube], start, grid, images.plane.n_within(30.0), 8.0)
    assert np.median(rotations_between(found.rotations, true)) < 12.0
    # The grid's step is 4 A.
    assert np.median(np.linalg.norm(found.shifts_xyz_angstrom - moved, axis=1)) < 5.0
    # Twice about the picks gives the same places, about the present ones they stay in reach.
    again = Poses(start.half, found.rotations, moved + 100.0, start.prior)
    about_picks = DirectedGrid(15.0, 8.0, 8.0, 30.0, 8.0, 4.0, about_picks=True)
    repeated = search_pass(images, [cube, cube], again, about_picks, images.plane.n_within(30.0), 8.0)
    assert_allclose(repeated.shifts_xyz_angstrom, found.shifts_xyz_angstrom)


def test_without_directions_it_is_refused():
    rng = np.random.default_rng(4)
    cube = random_cube(rng)
    images = made_images(cube, np.eye(3)[None], np.zeros((1, 3)), 60.0, rng)
    poses = Poses(np.ones(1, np.int64), np.eye(3)[None], np.zeros((1, 3)), PosePrior())
    with pytest.raises(ValueError, match="expected particles with directions"):
        search_pass(images, [cube, cube], poses, GRID, 50, 8.0)
    plain = SearchGrid(np.eye(3)[None], np.zeros((1, 3)))
    assert search_pass(images, [cube, cube], poses, plain, 50, 8.0).log_likelihood[0] > 0


def test_a_pick_that_moved_takes_the_normal_of_its_surface_there():
    normals = even_directions(600)
    centre, radius = np.array([50.0, -20.0, 10.0]), 240.0
    rows = ParticleRows.of(
        "TS_01",
        centre + radius * normals,
        prior_directions=normals,
        surface=np.ones(600, np.int64),
    )
    sideways = np.cross(normals, [0.3, 0.8, 0.5])
    places = rows.positions_xyz_angstrom + 40.0 * sideways
    outward = (places - centre) / np.linalg.norm(places - centre, axis=1, keepdims=True)
    carried = carried_directions(rows, places, 35.0)

    def error_deg(directions):
        return np.rad2deg(np.arccos(np.clip((directions * outward).sum(axis=1), -1, 1)))

    # 40 A on a sphere of 240 A are 9.5 degrees.
    assert np.median(error_deg(normals)) > 6.0
    assert error_deg(carried).max() < 1.5
    free = ParticleRows.of("TS_01", places, prior_directions=normals, surface=np.full(600, -1))
    assert_allclose(carried_directions(free, rows.positions_xyz_angstrom, 35.0), normals)
