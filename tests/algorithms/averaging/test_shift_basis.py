"""The basis of a grid of shifts: what it leaves out is what it says, and few functions are enough."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.pose_search import shift_grid
from cryoloom.algorithms.averaging.shift_basis import shift_basis


def phases_within(band_angstrom, shifts, rng, n=1500):
    k = rng.standard_normal((n, 3))
    k *= rng.uniform(0, 1 / band_angstrom, (n, 1)) / np.linalg.norm(k, axis=1, keepdims=True)
    return torch.tensor(np.exp(2j * np.pi * k @ shifts.T).T, dtype=torch.complex64)


@pytest.mark.parametrize(("band", "step", "few"), [(40.0, 6.0, 20), (20.0, 3.4, 60)])
def test_leaves_out_no_more_than_the_tolerance(band, step, few, rng):
    phases = phases_within(band, shift_grid(12.0, step), rng)
    information = torch.tensor(rng.uniform(0, 2, phases.shape[1]), dtype=torch.float32)

    basis = shift_basis(phases, information, tolerance=1.0)

    left = phases - basis.mixing.to(torch.complex64) @ basis.spectra
    variance = (information * left.abs() ** 2).sum(dim=1)
    assert float(variance.max()) == pytest.approx(basis.residual, rel=0.02)
    assert basis.residual <= 1.0
    assert len(basis.spectra) < few < len(phases)


def test_shifts_that_are_not_alike_are_taken_as_they_are(rng):
    phases = phases_within(4.0, shift_grid(12.0, 6.0), rng)
    basis = shift_basis(phases, torch.ones(phases.shape[1]), tolerance=1e-3)
    assert basis.is_exact
    assert torch.equal(basis.spectra, phases)
