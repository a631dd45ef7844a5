"""Decoys: bodies of the template's power that are unlike it."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.decoys import decoys_of, further_decoys, split_into_degrees
from cryoloom.algorithms.picking.spherical_harmonics import degrees_of_terms
from cryoloom.algorithms.picking.templates import (
    BAND_PER_VOXEL,
    OVERSAMPLING,
    density_of_points,
    template_of_density,
)
from cryoloom.geometry.orientation_grid import rotation_grid
from makers.point_templates import asymmetric, blobs

__all__ = ["asymmetric"]


def test_bodies_at_random_have_the_templates_power(asymmetric, rng):
    template = blobs(asymmetric, [1, 2, 1, 1.5])
    whole, *decoys = (
        split_into_degrees(one.density, OVERSAMPLING * 6.0, BAND_PER_VOXEL / OVERSAMPLING).power()[:8]
        for one in (decoys_of(template, 1, rng)[1], *further_decoys(template, 4, rng))
    )
    for i, power in enumerate(decoys):
        # The mask and the band take a little more of shells that fit each other less well: of sheets, the
        # third of every three, up to half of a degree.
        assert_allclose(power, whole, rtol=0.5 if i % 3 == 2 else 0.2)
        assert_allclose(power[1:].sum(), whole[1:].sum(), rtol=0.15 if i % 3 == 2 else 0.07)


def test_a_flat_template_has_no_decoys_like_itself():
    # Three lobes in a plane: of 20 bodies at random five were like it to 0.6 and more.
    rng = np.random.default_rng(1)
    lobes = [[32 * np.cos(t), 32 * np.sin(t), 0.0] for t in (0.0, 2.1, 4.2)]
    points = np.concatenate([lobe + rng.normal(0, 1, (300, 3)) * [14, 14, 8] for lobe in lobes])
    density = density_of_points(points, np.ones(len(points)), 5.0)
    template = template_of_density(density, 5.0, voxel_size_angstrom=15.0, radius_angstrom=75.0)
    radial, reference, _ = decoys_of(template, 1, rng)
    decoys = further_decoys(template, 12, rng)
    assert len(decoys) == 12
    rest = (reference.rotated(rotation_grid(20.0)) - radial.rotated(np.eye(3)[None])).flatten(1).numpy()
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    alike = []
    for decoy in decoys:
        one = (decoy.rotated(np.eye(3)[None]) - radial.rotated(np.eye(3)[None])).flatten().numpy()
        alike.append((rest @ one).max() / np.linalg.norm(one))
    # The grid of rotations that they were compared on is coarser.
    assert max(alike) < 0.65
    # None is a mere radial profile either.
    assert min(alike) > 0.15


def test_decoys_have_the_templates_power_and_not_its_shape(asymmetric, rng):
    template = blobs(asymmetric, [1, 2, 1, 1.5])
    radial, reference, decoys = decoys_of(template, 3, rng)
    parts = [
        split_into_degrees(one.density, OVERSAMPLING * 6.0, BAND_PER_VOXEL / OVERSAMPLING)
        for one in (reference, *decoys)
    ]
    for part in parts[1:]:
        assert_allclose(part.power()[:8], parts[0].power()[:8], rtol=0.1)
    # They share the radial part.
    l_0 = degrees_of_terms(parts[0].l_max) == 0
    scale = np.abs(parts[0].coefficients[:, l_0]).max()
    for part in parts[1:]:
        assert_allclose(part.coefficients[:, l_0], parts[0].coefficients[:, l_0], atol=0.03 * scale)
    rest = (reference.rotated(rotation_grid(20.0)) - radial.rotated(np.eye(3)[None])).flatten(1).numpy()
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    for decoy in decoys:
        one = (decoy.rotated(np.eye(3)[None]) - radial.rotated(np.eye(3)[None])).flatten().numpy()
        assert (rest @ one).max() / np.linalg.norm(one) < 0.75
    assert_allclose((rest @ rest[7]).max(), 1.0, rtol=1e-5)


def test_the_split_into_degrees_puts_the_density_together_again(asymmetric):
    template = blobs(asymmetric, [1, 2, 1, 1.5])
    parts = split_into_degrees(template.density, OVERSAMPLING * 6.0, BAND_PER_VOXEL / OVERSAMPLING)
    again = parts.density(parts.coefficients[None])[0]
    # Linear between shells half a fine voxel apart.
    assert np.linalg.norm(again - template.density) < 0.1 * np.linalg.norm(template.density)
