"""Starts that place particles alike, up to one rotation and an unknown symmetry; likelihood is no matter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.initial_model.start_agreement import agreement_of_starts, placed_alike
from cryoloom.geometry.rotations import rotation_z
from cryoloom.geometry.symmetry import symmetry_matrices


def off(poses: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    return poses @ Rotation.from_rotvec(rng.normal(0, np.deg2rad(degrees), (len(poses), 3))).as_matrix()


@pytest.mark.parametrize(("group", "least"), [("C1", 0.9), ("C6", 0.9), ("O", 0.5)])
def test_poses_that_differ_by_one_rotation_agree_for_any_symmetry(rng, group, least):
    true = Rotation.random(60, rng).as_matrix()
    operators = symmetry_matrices(group)
    frame = Rotation.random(rng=rng).as_matrix()
    first = off(true @ operators[rng.integers(0, len(operators), 60)], 4.0, rng)
    second = off(true @ frame, 4.0, rng)
    assert placed_alike(first, second, 15.0, rng) > least


def test_poses_at_random_do_not_agree(rng):
    first, second = (Rotation.random(200, rng).as_matrix() for _ in range(2))
    assert placed_alike(first, second, 15.0, rng) < 0.15


def test_a_third_of_the_particles_is_a_third(rng):
    first, second = (Rotation.random(90, rng).as_matrix() for _ in range(2))
    second[:30] = off(first[:30], 3.0, rng)
    assert placed_alike(first, second, 15.0, rng) == pytest.approx(1 / 3, abs=0.12)


def test_a_common_direction_is_no_agreement(rng):
    """Along filaments z is known beforehand; only azimuths tell."""
    poses = Rotation.random(60, rng).as_matrix()
    turned = poses @ rotation_z(rng.uniform(0, 360, 60))
    assert placed_alike(poses, turned, 15.0, rng, about_axis=True) < 0.2
    assert placed_alike(poses, off(poses, 3.0, rng), 15.0, rng, about_axis=True) > 0.9


def test_the_start_most_like_the_best_counts(rng):
    everyone = np.ones(40, bool)
    best, other = (Rotation.random(40, rng).as_matrix() for _ in range(2))
    alike = off(best, 3.0, rng)
    three = [(everyone, other), (everyone, best), (everyone, alike)]
    assert agreement_of_starts(three, 1, 15.0, rng) > 0.9
    assert agreement_of_starts(three[:2], 1, 15.0, rng) < 0.3
    assert agreement_of_starts(three[1:2], 0, 15.0, rng) is None
    # Starts of different particles cannot be compared.
    apart = np.arange(40) < 20
    assert agreement_of_starts([(apart, best), (~apart, best)], 0, 15.0, rng) is None
