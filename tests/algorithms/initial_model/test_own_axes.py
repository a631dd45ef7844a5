"""Axes of single particles are found without a reference; symmetries that are not there are seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.initial_model.own_axes import (
    class_likeness,
    class_sums,
    own_axes,
    own_band_angstrom,
    own_step_deg,
)
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from makers.posed_images import SMALL_DIAMETER_ANGSTROM, cube_of, made_images, symmetric_map

N, DEVIATION, BAND_ANGSTROM = 8, 100.0, 18.6


def a_scene(group, seed=4, n=N):
    """Images of a particle with a group, its half cube, orientations and shifts."""
    rng = np.random.default_rng(seed)
    true, shifts = Rotation.random(n, rng).as_matrix(), rng.normal(0, 5.0, (n, 3))
    cube = cube_of(symmetric_map(group, rng))
    return made_images(cube, true, shifts, DEVIATION, rng, tilt_step_deg=4.0), cube, true, shifts


def likeness(scene, group):
    images, cube, _, shifts = scene
    sums = class_sums(images, cube, shifts, group, SMALL_DIAMETER_ANGSTROM, BAND_ANGSTROM)
    return class_likeness(sums, group)


@pytest.fixture(scope="module")
def octahedral():
    return a_scene("O")


@pytest.fixture(scope="module")
def lumps():
    return a_scene("C1")


def test_the_axes_of_every_particle_are_found(octahedral):
    images, _, true, shifts = octahedral
    found = own_axes(images, shifts, "O", SMALL_DIAMETER_ANGSTROM, BAND_ANGSTROM)
    assert rotations_between(found.rotations, true, symmetry_matrices("O")).max() < 8.0
    assert found.significance.min() > 5.0


def test_the_axis_of_a_cyclic_group_is_found_but_for_its_sense():
    images, _, true, shifts = a_scene("C4")
    found = own_axes(images, shifts, "C4", SMALL_DIAMETER_ANGSTROM, BAND_ANGSTROM)
    cosine = np.abs((found.rotations[:, :, 2] * true[:, :, 2]).sum(axis=1))
    assert np.rad2deg(np.arccos(np.clip(cosine, 0, 1))).max() < 6.0


@pytest.mark.slow
def test_axes_of_other_particles_are_not_significant(lumps, octahedral):
    none = own_axes(lumps[0], lumps[3], "O", SMALL_DIAMETER_ANGSTROM, BAND_ANGSTROM)
    some = own_axes(octahedral[0], octahedral[3], "O", SMALL_DIAMETER_ANGSTROM, BAND_ANGSTROM)
    assert np.median(none.significance) < np.min(some.significance)


def test_a_perfect_symmetry_brings_everything_back(octahedral):
    found = likeness(octahedral, "O")
    assert [(one.order, round(one.angle_deg)) for one in found] == [(4, 90), (3, 120), (4, 180), (2, 180)]
    assert all(0.4 < one.likeness < 1.3 for one in found)
    assert sum(one.deviations for one in found) > 10


@pytest.mark.slow
def test_particles_without_symmetry_are_not_like_themselves_turned(lumps):
    assert min(one.likeness for one in likeness(lumps, "O")) < 0.2


@pytest.mark.slow
def test_a_larger_group_than_the_particle_has_is_seen(octahedral):
    assert min(one.likeness for one in likeness(octahedral, "I")) < 0.2


def test_band_and_step_follow_the_diameter():
    assert own_band_angstrom(140.0, 15.0) == pytest.approx(20.0)
    assert own_band_angstrom(70.0, 15.0) == 15.0
    assert own_step_deg(20.0, 140.0) == pytest.approx(np.rad2deg(1.3 / 7.0))
