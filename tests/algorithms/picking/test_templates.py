"""Templates: turned as the convention says, centred, masked; decoys of equal power that are unlike them."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.algorithms.picking.templates import (
    ball_density,
    template_of_density,
)
from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.geometry.rotations import rotation_x, rotation_z
from makers.point_templates import VOXEL, asymmetric, blobs

__all__ = ["asymmetric"]


def centre_of_mass(volume, voxel=VOXEL):
    at = np.arange(volume.shape[0]) - volume.shape[0] // 2
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    return voxel * np.array([(volume * axis).sum() for axis in (x, y, z)]) / volume.sum()


def test_a_turned_template_has_its_points_at_r_x():
    # One heavy point off centre and a light one opposite: the heavy one leads.
    template = blobs([[30.0, 0, 0], [-30.0, 0, 0]], [3.0, 1.0], radius=80.0)
    turns = np.stack([np.eye(3), rotation_z(90.0), rotation_x(-60.0) @ rotation_z(90.0)])
    volumes = template.rotated(turns).numpy()
    # The heavier one lies 15 A from the centre of mass.
    for volume, turn in zip(volumes, turns, strict=True):
        peak = np.array(np.unravel_index(np.argmax(volume), volume.shape)) - volume.shape[0] // 2
        assert_allclose(peak[::-1] * VOXEL, turn @ [15.0, 0, 0], atol=0.6 * VOXEL)


def test_power_does_not_depend_on_the_rotation(asymmetric):
    template = blobs(asymmetric, [1, 2, 1, 1.5])
    power = (template.rotated(rotation_grid(60.0)).numpy() ** 2).sum(axis=(1, 2, 3))
    # Interpolation that is not made up for loses a tenth and more.
    assert_allclose(power, power.mean(), rtol=0.03)


def test_the_mirrored_template_has_z_reversed(asymmetric):
    template = blobs(asymmetric, [1, 2, 1, 1.5])
    plain = template.rotated(np.eye(3)[None])[0].numpy()
    mirrored = template.mirrored().rotated(np.eye(3)[None])[0].numpy()
    assert_allclose(mirrored, plain[::-1], atol=0.02 * plain.max())


def test_a_map_of_any_box_is_centred_and_masked():
    ball = ball_density(80.0, 4.0)
    centred = np.pad(ball, 3) + 0.7
    template = template_of_density(centred, 4.0, voxel_size_angstrom=VOXEL, radius_angstrom=60.0)
    volume = template.rotated(np.eye(3)[None])[0].numpy()
    assert_allclose(centre_of_mass(volume), 0, atol=0.1)
    # The solvent's 0.7 is gone, and a ball of 4 voxels' radius without detail finer than 2.2 is left.
    assert abs(volume[0]).max() < 0.02
    assert_allclose(volume.sum(), 4 / 3 * np.pi * 4.0**3, rtol=0.05)
