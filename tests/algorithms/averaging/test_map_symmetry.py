"""Axes of made maps are found where they were put, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from cryoloom.algorithms.averaging.map_symmetry import (
    SymmetryFit,
    _other_angles,
    centre_of_density,
    centred,
    fit_symmetry,
    symmetry_in_place,
    turned_map,
)
from cryoloom.algorithms.averaging.shell_correlation import soft_sphere
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices

N = 32


def blobs(places_px: np.ndarray) -> torch.Tensor:
    """Gaussians of 1.8 voxels."""
    axis = np.arange(N) - N // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    density = sum(
        np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 1.8**2)) for a, b, c in places_px
    )
    return torch.tensor(density, dtype=torch.float32)


def made(group: str, rotation: np.ndarray, seed: int = 1, n_places: int = 3) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    places = rng.normal(0, 1, (n_places, 3))
    places *= rng.uniform(6, 10, (n_places, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    every = np.concatenate([places @ operator.T for operator in symmetry_matrices(group)])
    return blobs(every @ rotation.T)


@pytest.mark.parametrize("group", ["C3", "C6", "D2", "O"])
def test_the_axes_are_found(group, rng):
    rotation = Rotation.random(random_state=5).as_matrix()
    found = fit_symmetry(made(group, rotation), 13.0, group)
    assert found.likeness > 0.9
    assert found.significance > 3
    if group.startswith("C"):
        # The sense of the axis is free.
        assert abs(found.rotation[:, 2] @ rotation[:, 2]) > np.cos(np.deg2rad(2))
    else:
        # The group's frame is free up to its own rotations, and for D2 to the exchange of its axes.
        free = symmetry_matrices("O")
        assert rotations_between(found.rotation, rotation, free) < 3


@pytest.mark.parametrize(("has", "asked"), [("C4", "C5"), ("C1", "C6"), ("C6", "O")])
def test_a_symmetry_that_is_not_there_is_not_found(has, asked):
    rotation = Rotation.random(random_state=7).as_matrix()
    assert fit_symmetry(made(has, rotation, seed=4), 13.0, asked).likeness < 0.3


@pytest.mark.parametrize(("has", "asked"), [("C2", "D2"), ("C3", "D3"), ("T", "O")])
@pytest.mark.parametrize("seed", [1, 4])
def test_a_group_that_a_map_has_in_part_is_not_seen(has, asked, seed):
    """Its mean over all rotations is high where those of the subgroup are perfect."""
    rotation = Rotation.random(random_state=7).as_matrix()
    # Both signs: lumps of one sign may be nearly alike under more rotations.
    density = made(has, rotation, seed, 8) - made(has, rotation, seed + 10, 8)
    found = fit_symmetry(density, 13.0, asked)
    assert found.evenness < 0.4
    assert not found.is_seen
    assert fit_symmetry(density, 13.0, has).is_seen


@pytest.mark.parametrize("group", ["C6", "D2", "D3", "T", "O"])
def test_noise_lowers_all_kinds_of_rotations_alike(group, rng):
    density = made(group, np.eye(3))
    noise = gaussian_filter(rng.standard_normal((N, N, N)), 1.8)
    noisy = density + 0.6 * torch.tensor(noise / noise.std(), dtype=torch.float32) * density.std()
    found = symmetry_in_place(noisy, 13.0, group)
    assert found is not None
    assert 0.2 < found.likeness < 0.9
    assert found.has_all_classes


def test_a_shell_with_noise_has_no_symmetry(rng):
    axis = np.arange(N) - N // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None] ** 2)
    shell = np.exp(-((radius - 9) ** 2) / 4) + 0.3 * rng.standard_normal((N, N, N))
    assert fit_symmetry(torch.tensor(shell, dtype=torch.float32), 13.0, "O").likeness < 0.2


def test_a_map_is_turned_about_its_centre():
    rotation = Rotation.random(random_state=2).as_matrix()
    place = np.array([[7.0, -3.0, 5.0]])
    turned = turned_map(blobs(place), rotation)
    assert torch.abs(turned - blobs(place @ rotation.T)).max() < 0.03


@pytest.mark.parametrize("group", ["C4", "D3", "O"])
def test_axes_in_place_are_distinguished_from_others(group):
    here = symmetry_in_place(made(group, np.eye(3)), 13.0, group)
    assert here is not None
    assert here.likeness > 0.8
    elsewhere = symmetry_in_place(made(group, Rotation.random(random_state=3).as_matrix()), 13.0, group)
    assert elsewhere is not None
    assert elsewhere.likeness < 0.3


@pytest.mark.parametrize("group", ["C2", "C3", "C6", "D4", "O", "I"])
def test_other_angles_are_none_of_the_groups(group):
    """A half turn among them made the likeness of even groups too low."""
    operators = symmetry_matrices(group)
    others = _other_angles(operators)
    assert rotations_between(others, np.eye(3)[None], operators).min() > 4.0
    assert len(others) >= 10


def test_a_ball_tells_nothing_of_a_symmetry():
    assert symmetry_in_place(soft_sphere(N, 9.0, 3.0), 13.0, "O") is None


def test_a_shell_off_its_centre_keeps_its_symmetry():
    density = made("O", np.eye(3)) + 3.0 * soft_sphere(N, 9.0, 3.0)
    moved = torch.roll(density, (1, -2), (0, 2))
    assert centre_of_density(moved, 13.0) == pytest.approx([-2.0, 0.0, 1.0], abs=0.1)
    assert torch.abs(centred(moved, np.array([-2.0, 0.0, 1.0])) - density)[4:-4, 4:-4, 4:-4].max() < 1e-3
    found = symmetry_in_place(moved, 13.0, "O")
    assert found is not None
    assert found.likeness > 0.8


def test_the_grid_of_a_ball_is_no_symmetry():
    axis = np.arange(N) - N // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    shell = np.exp(-((np.sqrt(x**2 + y**2 + z**2) - 8.0) ** 2) / 8.0)
    found = fit_symmetry(torch.tensor(shell, dtype=torch.float32), 13.0, "C4")
    assert found.likeness == 0.0
    assert not found.is_seen


@pytest.mark.parametrize(
    ("likeness", "significance", "seen"),
    [(0.31, 3.1, True), (0.29, 4.9, False), (0.2988, 5.8, True), (0.24, 8.0, False), (0.9, 2.0, False)],
)
def test_a_noisy_map_needs_clearer_axes(likeness, significance, seen):
    assert SymmetryFit("O", np.eye(3), likeness, significance).is_seen is seen
