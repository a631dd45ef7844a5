"""What two halves support: a resolution where they agree, and none where only their radial parts do."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cryoloom.algorithms.averaging.evaluation import (
    HalfMaps,
    Verdict,
    finer_than_start,
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
    names = {"unmasked", "masked", "randomised", "corrected", "non-radial", "pose-dependent"}
    assert set(found.curves) == names


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


def test_a_shell_off_its_centre_is_a_shell(rng):
    """Aligned to a map that is not round, shells take one place in its frame, and no orientation."""
    at = np.arange(N) - N // 2
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    radius = np.sqrt((z - 1.5) ** 2 + y**2 + (x + 1.0) ** 2)
    shell = torch.tensor(np.exp(-(((radius - 8.0) / 1.5) ** 2)), dtype=torch.float32)
    halves = halves_of(shell, rng, 0.02)
    found = verdict(halves, halves, None, particle_mask(N, VOXEL, DIAMETER), rng)
    assert found.resolution_angstrom is None


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


def test_a_resolution_ends_where_what_depends_on_the_poses_no_longer_agrees():
    total, turned = np.full(30, 0.6), np.full(30, 0.6)
    total[25:], turned[13:] = 0.0, 0.0
    curves = {"corrected": total, "non-radial": turned, "pose-dependent": turned}
    found = judged(curves, 300.0, 0.3)
    # The mean of a third of the shells is looked at.
    assert 300.0 / 16 <= found.resolution_angstrom <= 300.0 / 12
    assert "finer than" in found.note
    assert "only in what does not depend on the poses" in found.note
    whole = judged(curves | {"pose-dependent": total}, 300.0, 0.3)
    assert whole.resolution_angstrom == pytest.approx(300.0 / 24.76, abs=0.01)
    assert whole.note == ""


def test_few_independent_values_are_no_evidence_of_poses():
    turned = np.full(20, 0.25)
    curves = {"corrected": np.full(20, 0.5), "non-radial": turned, "pose-dependent": turned}
    assert judged(curves, 200.0, 0.3).resolution_angstrom is not None
    # Of an icosahedron's 60 asymmetric units in a small mask a shell has less than one value of its own.
    found = judged(curves, 200.0, 0.1 / 60)
    assert found.resolution_angstrom is None
    assert "any poses would give this agreement" in found.note


def test_a_membrane_has_no_resolution_whatever_stands_on_it(rng):
    """Two leaflets across z agree; what depends on the azimuth does not."""
    z = (np.arange(N) - N // 2)[:, None, None] * VOXEL
    leaflets = np.exp(-0.5 * ((np.abs(z) - 18.0) / 7.0) ** 2) + np.zeros((N,) * 3)
    halves = halves_of(torch.tensor(leaflets, dtype=torch.float32), rng, 0.05)
    mask = particle_mask(N, VOXEL, DIAMETER)
    found = verdict(halves, halves, None, mask, rng, about_axis=True)
    assert found.resolution_angstrom is None
    # Without their directions particles of a membrane would seem to have one.
    assert verdict(halves, halves, None, mask, rng).resolution_angstrom is not None


@pytest.mark.parametrize(("resolution", "stays"), [(38.5, False), (60.0, False), (20.0, True)])
def test_a_resolution_is_finer_than_the_first_reference(resolution, stays):
    found = finer_than_start(Verdict({}, resolution, ""), 40.0)
    assert (found.resolution_angstrom == resolution) == stays
    assert ("no finer than the first reference of 40 A" in found.note) != stays
    nothing = Verdict({}, None, "why")
    assert finer_than_start(nothing, 40.0) is nothing
