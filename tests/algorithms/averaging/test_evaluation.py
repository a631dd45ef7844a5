"""What two halves support: a resolution where they agree, and none where only their radial parts do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.evaluation import (
    HalfMaps,
    half_curves,
    judged,
    particle_mask,
    pose_evidence,
    verdict,
)
from cryoloom.algorithms.averaging.maps import low_pass

N, VOXEL, DIAMETER = 40, 4.0, 100.0


def halves_of(density, rng, noise):
    maps = [density + noise * torch.tensor(rng.standard_normal((N,) * 3)).float() for _ in range(2)]
    return HalfMaps((maps[0], maps[1]), VOXEL, N // 2 - 1)


def body(rng):
    """Structure up to 16 A within a ball."""
    white = torch.tensor(rng.standard_normal((N,) * 3), dtype=torch.float32)
    return low_pass(white * particle_mask(N, VOXEL, 0.7 * DIAMETER), VOXEL, 16.0)


def test_the_mask_covers_the_particle_and_not_the_corners():
    mask = particle_mask(N, VOXEL, DIAMETER).numpy()
    assert mask[20, 20, 20 + 12] == 1.0  # 48 A from the centre
    assert mask[0, 20, 20] == 0.0


def test_halves_with_structure_to_16_angstrom_have_that_resolution(rng):
    halves = halves_of(body(rng), rng, 0.2)
    found = verdict(halves, halves, None, particle_mask(N, VOXEL, DIAMETER), rng)
    assert found.resolution_angstrom == pytest.approx(15.0, abs=2.0)
    assert found.note == ""
    assert set(found.curves) == {"unmasked", "masked", "randomised", "corrected", "non-radial"}


def test_a_mask_does_not_lend_noise_a_resolution(rng):
    halves = halves_of(torch.zeros((N,) * 3), rng, 1.0)
    found = verdict(halves, halves, None, particle_mask(N, VOXEL, DIAMETER), rng)
    assert found.resolution_angstrom is None
    assert "do not agree at any resolution" in found.note


def test_agreement_of_radial_parts_alone_is_no_resolution(rng):
    at = np.arange(N) - N // 2
    radius = np.sqrt(at[:, None, None] ** 2 + at[None, :, None] ** 2 + at[None, None] ** 2)
    shell = torch.tensor(np.exp(-(((radius - 8.0) / 1.5) ** 2)), dtype=torch.float32)
    halves = halves_of(shell, rng, 0.05)
    found = verdict(halves, halves, None, particle_mask(N, VOXEL, DIAMETER), rng)
    assert found.resolution_angstrom is None
    assert "only in what does not depend on orientation" in found.note


def test_halves_that_agree_as_well_with_exchanged_orientations_have_no_resolution(rng):
    halves = halves_of(body(rng), rng, 0.05)
    found = verdict(halves, halves, halves, particle_mask(N, VOXEL, DIAMETER), rng)
    assert found.resolution_angstrom is None
    assert "with orientations exchanged among the particles" in found.note


def test_agreement_to_the_last_shell_is_said():
    ones = np.ones(12)
    found = judged({"corrected": ones, "non-radial": ones}, 120.0)
    assert found.resolution_angstrom == pytest.approx(120.0 / 11)
    assert found.note.startswith("limited by the pixel size")


def test_curves_without_a_fall_need_no_correction(rng):
    density = body(rng)
    curves = half_curves(
        HalfMaps((density, density), VOXEL, N // 2 - 1), particle_mask(N, VOXEL, DIAMETER), rng
    )
    assert "randomised" not in curves
    np.testing.assert_allclose(curves["corrected"][1:], 1.0)


def test_evidence_is_the_mean_from_the_second_shell_on():
    assert pose_evidence(np.array([9.0, 9.0, 0.2, 0.4, 0.6, 5.0]), 4) == pytest.approx(0.4)
