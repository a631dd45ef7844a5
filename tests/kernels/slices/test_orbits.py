"""Evidence of orbits: what its equation says, on both back ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryoloom.geometry.symmetry import symmetry_matrices
from cryoloom.kernels.slices.fourier_slices import cube_shape
from cryoloom.kernels.slices.orbits import orbit_evidence
from cryoloom.kernels.slices.orbits_torch import orbit_evidence_torch

REACH = 6


def a_problem(rng, n=5):
    shape = cube_shape(REACH)
    values = torch.tensor(rng.normal(size=(*shape, 2)), dtype=torch.float32)
    cubes = [torch.tensor(rng.uniform(0.1, 1.0, shape), dtype=torch.float32) for _ in range(2)]
    turns = np.einsum("nab,gbc->ngac", Rotation.random(n, rng).as_matrix(), symmetry_matrices("D3"))
    points = rng.normal(size=(7, 3))
    points *= rng.uniform(1.0, REACH, (7, 1)) / np.linalg.norm(points, axis=1, keepdims=True)
    prior = torch.tensor(rng.uniform(0.5, 2.0, 7), dtype=torch.float32)
    given = (torch.tensor(turns, dtype=torch.float32), torch.tensor(points, dtype=torch.float32), prior)
    return torch.view_as_complex(values.contiguous()), *cubes, *given


def test_both_back_ends_agree(rng):
    problem = a_problem(rng)
    found = orbit_evidence(*problem)
    assert found.shape == (5,)
    torch.testing.assert_close(found, orbit_evidence_torch(*problem), rtol=1e-4, atol=1e-3)


def test_it_is_what_its_equation_says():
    shape = cube_shape(REACH)
    # Constant cubes: every equivalent reads 2 + 0i, on either side of the plane x = 0.
    values = torch.full(shape, 2.0, dtype=torch.complex64)
    precision, worth = torch.full(shape, 0.5), torch.full(shape, 0.125)
    turns = torch.tensor(symmetry_matrices("C4"), dtype=torch.float32)[None]
    points = torch.tensor([[1.0, 2.0, 3.0], [-2.0, 1.0, 1.5]])
    found = orbit_evidence(values, precision, worth, turns, points, torch.tensor([1.0, 4.0]))
    expected = sum(0.5 * 8.0**2 / (2.0 + p) - np.log1p(2.0 / p) - 4 * 0.125 for p in (1.0, 4.0))
    assert float(found[0]) == pytest.approx(expected, rel=1e-5)


def test_points_beyond_the_cube_are_refused(rng):
    values, precision, worth, turns, points, prior = a_problem(rng)
    with pytest.raises(ValueError, match="points reach"):
        orbit_evidence(values, precision, worth, 2 * turns, points, prior)
