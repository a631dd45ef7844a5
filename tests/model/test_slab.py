"""Place of the specimen, before and after the poses were moved to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.model import Slab, Sourced


def measured(value, applied=None):
    return Sourced(measured=value, measured_by="test", applied=applied)


SLAB = Slab(measured(1500.0), measured(-80.0), measured(3.0), measured(-10.0))


def test_a_measured_slab_lies_where_it_was_measured():
    assert not SLAB.is_applied
    np.testing.assert_allclose(SLAB.offset_xyz_angstrom, [0, 0, -80])
    np.testing.assert_allclose(SLAB.rotation, rotation_y(-10.0) @ rotation_x(3.0))


def test_the_plane_is_that_of_the_rotated_slab():
    a, b, c = SLAB.plane
    # Points of the flat slab's middle, turned and raised, lie on z = a + b x + c y.
    flat = np.array([[500.0, 0.0, 0.0], [0.0, -300.0, 0.0], [200.0, 700.0, 0.0]])
    x, y, z = (flat @ SLAB.rotation.T + SLAB.offset_xyz_angstrom).T
    np.testing.assert_allclose(z, a + b * x + c * y, atol=1e-9)


def test_poses_that_were_moved_and_turned_see_it_flat_about_the_origin():
    slab = Slab(measured(1500.0), measured(-80.0, -80.0), measured(3.0, 3.0), measured(-10.0, -10.0))
    assert slab.is_applied
    np.testing.assert_array_equal(slab.offset_xyz_angstrom, 0)
    np.testing.assert_array_equal(slab.rotation, np.eye(3))
    assert slab.plane == (0.0, 0.0, 0.0)


def test_moved_but_not_turned_is_not_applied():
    slab = replace(SLAB, z_offset_angstrom=measured(-80.0, -80.0))
    assert not slab.is_applied
    np.testing.assert_allclose(slab.rotation, SLAB.rotation)


def test_a_pretilt_that_was_not_measured_need_not_be_applied():
    assert Slab(measured(1500.0), measured(20.0, 20.0)).is_applied
    assert not Slab().is_applied
