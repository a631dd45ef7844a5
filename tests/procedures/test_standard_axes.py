"""Maps about other axes come to the standard ones; in place they stay, without the symmetry none is taken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryoloom.errors import UserInputError
from cryoloom.geometry.orientation_grid import rotations_between
from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.procedures.standard_axes import standard_map

N, VOXEL_ANGSTROM, DIAMETER_ANGSTROM = 36, 5.0, 140.0
SOLVENT = 3.0
NAME = "the map"


def lumps(
    group: str,
    turn: np.ndarray,
    *,
    off_xyz_angstrom: tuple[float, float, float] = (0.0, 0.0, 0.0),
    shape: tuple[int, int, int] = (N, N, N),
    seed: int = 1,
) -> np.ndarray:
    """Gaussians of 9 A under a group whose frame is turned and whose centre lies off that of the box."""
    rng = np.random.default_rng(seed)
    places = rng.normal(0, 1, (3, 3))
    places *= rng.uniform(28, 52, (3, 1)) / np.linalg.norm(places, axis=1, keepdims=True)
    heavy = (1.0, 0.8, 0.6)
    every = [
        (weight, turn @ operator @ place + off_xyz_angstrom)
        for weight, place in zip(heavy, places, strict=True)
        for operator in symmetry_matrices(group)
    ]
    z, y, x = np.meshgrid(*((np.arange(n) - n // 2) * VOXEL_ANGSTROM for n in shape), indexing="ij")
    return SOLVENT + sum(
        w * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * 9.0**2)) for w, (a, b, c) in every
    )


@pytest.mark.parametrize("group", ["C2", "C6", "D2", "D3", "T", "O", "I"])
def test_a_map_in_place_stays_to_the_bit(group):
    density = lumps(group, np.eye(3))
    found = standard_map(density, VOXEL_ANGSTROM, group, DIAMETER_ANGSTROM, NAME)
    assert found.density is density
    assert found.note == ""
    np.testing.assert_array_equal(found.rotation, np.eye(3))


@pytest.mark.parametrize("group", ["C2", "C6", "D2", "D3", "T", "O", "I"])
def test_a_turned_map_comes_to_the_standard_axes(group):
    turn = Rotation.from_euler("zyx", [20.0, 25.0, 40.0], degrees=True).as_matrix()
    density = lumps(group, turn)
    found = standard_map(density, VOXEL_ANGSTROM, group, DIAMETER_ANGSTROM, NAME)
    operators = symmetry_matrices(group)
    # The group's rotations about the found axes are those about the axes that the map was made with.
    there = found.rotation @ operators @ found.rotation.T
    true = turn @ operators @ turn.T
    assert max(rotations_between(true, one[None], np.eye(3)[None]).min() for one in there) < 2.0
    assert "turned by" in found.note
    # Made again in that frame, it is the same map.
    expected = lumps(group, found.rotation.T @ turn)
    inside = np.hypot(*np.indices((N, N, N))[:2] - N // 2) < N // 2 - 3
    assert np.abs(found.density - expected)[inside].max() < 0.06 * np.ptp(density)
    again = standard_map(found.density, VOXEL_ANGSTROM, group, DIAMETER_ANGSTROM, NAME)
    assert again.note == ""


def test_a_centre_off_the_axes_is_moved_to_them():
    off = (15.0, -10.0, 20.0)
    moved = standard_map(
        lumps("C6", np.eye(3), off_xyz_angstrom=off), VOXEL_ANGSTROM, "C6", DIAMETER_ANGSTROM, NAME
    )
    # Along a single axis no place is the centre.
    assert moved.centre_xyz_angstrom == pytest.approx([15.0, -10.0, 0.0], abs=1.5)
    assert "moved" in moved.note
    expected = lumps("C6", np.eye(3), off_xyz_angstrom=(0.0, 0.0, 20.0))
    assert np.abs(moved.density - expected)[4:-4, 4:-4, 4:-4].max() < 0.2
    octahedral = standard_map(
        lumps("O", np.eye(3), off_xyz_angstrom=off), VOXEL_ANGSTROM, "O", DIAMETER_ANGSTROM, NAME
    )
    assert octahedral.centre_xyz_angstrom == pytest.approx(off, abs=1.5)


def test_a_turned_map_off_its_centre_comes_to_both():
    turn = Rotation.from_euler("zyx", [20.0, 25.0, 40.0], degrees=True).as_matrix()
    density = lumps("O", turn, off_xyz_angstrom=(10.0, -10.0, 5.0))
    found = standard_map(density, VOXEL_ANGSTROM, "O", DIAMETER_ANGSTROM, NAME)
    assert found.centre_xyz_angstrom == pytest.approx([10.0, -10.0, 5.0], abs=1.5)
    assert rotations_between(found.rotation, turn, symmetry_matrices("O")) < 2.0
    expected = lumps("O", np.eye(3))
    assert np.abs(found.density - expected)[4:-4, 4:-4, 4:-4].max() < 0.1 * np.ptp(expected)


@pytest.mark.parametrize(("has", "asked"), [("C1", "O"), ("C1", "C6"), ("C4", "C5"), ("C6", "O")])
def test_a_map_without_the_symmetry_is_refused(has, asked):
    turn = Rotation.random(random_state=7).as_matrix()
    with pytest.raises(
        UserInputError, match=f"the map does not have the symmetry {asked} .* expected at least"
    ):
        standard_map(lumps(has, turn, seed=4), VOXEL_ANGSTROM, asked, DIAMETER_ANGSTROM, NAME)


def test_a_shell_fits_any_axes():
    axis = (np.arange(N) - N // 2) * VOXEL_ANGSTROM
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    shell = np.exp(-((radius - 45.0) ** 2) / (2 * 12.0**2))
    found = standard_map(shell, VOXEL_ANGSTROM, "O", DIAMETER_ANGSTROM, NAME)
    assert found.density is shell


def test_a_box_that_is_no_cube_is_turned_in_a_cube():
    turn = Rotation.from_euler("y", 30.0, degrees=True).as_matrix()
    density = lumps("C6", turn, shape=(N, N + 4, N))
    found = standard_map(density, VOXEL_ANGSTROM, "C6", DIAMETER_ANGSTROM, NAME)
    assert found.density.shape == (N + 4,) * 3
    assert np.abs(found.density - lumps("C6", np.eye(3), shape=(N + 4,) * 3)).max() < 2.5
    assert found.density[0, 0, 0] == pytest.approx(SOLVENT, abs=0.05)


def test_without_symmetry_nothing_is_done():
    density = np.zeros((8, 8, 8))
    assert standard_map(density, VOXEL_ANGSTROM, "C1", DIAMETER_ANGSTROM, NAME).density is density
