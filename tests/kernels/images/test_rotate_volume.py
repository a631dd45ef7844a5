"""A volume at many rotations: a lump goes where its rotation takes it, and nothing lies beyond a reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from cryoloom.geometry.orientation_grid import rotation_grid
from cryoloom.kernels.images import rotate_volume as door
from cryoloom.kernels.images.rotate_volume import rotate_volume

FINE, COARSE = 48, 21


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


def lump(place_xyz, width=6.0):
    at = np.arange(FINE) - FINE // 2
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    squared = (x - place_xyz[0]) ** 2 + (y - place_xyz[1]) ** 2 + (z - place_xyz[2]) ** 2
    return torch.tensor(np.exp(-squared / (2 * width**2)), dtype=torch.float32)


def test_a_lump_goes_where_its_rotation_takes_it():
    place = np.array([6.0, -4.0, 5.0])
    rotations = rotation_grid(80.0)[::4]
    out = torch.full((len(rotations), COARSE, COARSE, COARSE), np.nan)
    rotate_volume(lump(place), torch.from_numpy(rotations), 2.0, out, 11.0)
    at = np.arange(COARSE) - COARSE // 2
    for rotation, turned in zip(rotations, out.numpy(), strict=True):
        # Two samples to a voxel.
        x, y, z = rotation @ place / 2.0
        squared = (at - z)[:, None, None] ** 2 + (at - y)[None, :, None] ** 2 + (at - x)[None, None] ** 2
        # Linear interpolation of a lump 3 voxels wide.
        inside = sum(np.meshgrid(at**2, at**2, at**2)) < 10.0**2
        assert_allclose(turned[inside], np.exp(-squared / (2 * 3.0**2))[inside], atol=0.01)


def test_nothing_is_written_beyond_the_reach():
    out = torch.full((1, COARSE, COARSE, COARSE), np.nan)
    rotate_volume(torch.ones((FINE,) * 3), torch.eye(3, dtype=torch.float64)[None], 2.0, out, 6.5)
    at = np.arange(COARSE) - COARSE // 2
    inside = sum(np.meshgrid(at**2, at**2, at**2)) <= 6.5**2
    assert torch.equal(out[0], torch.tensor(inside, dtype=torch.float32))


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="expected 2 rotations"):
        rotate_volume(
            torch.ones((4, 4, 4)), torch.eye(3, dtype=torch.float64)[None], 1.0, torch.ones((2, 3, 3, 3)), 2.0
        )


def test_beyond_the_volume_is_zero():
    out = torch.full((1, 9, 9, 9), torch.nan)
    rotate_volume(torch.ones((4, 4, 4)), torch.eye(3, dtype=torch.float64)[None], 1.0, out, 20.0)
    assert float(out[0, 4, 4, 4]) == 1.0
    assert float(out[0, 0, 4, 4]) == float(out[0, 4, 4, 8]) == 0.0


def test_rotations_in_single_precision_are_refused():
    volume, one = torch.ones((4, 4, 4)), torch.eye(3)[None]
    with pytest.raises(TypeError, match=r"got torch.float32, torch.float32, torch.float32"):
        rotate_volume(volume, one, 1.0, torch.empty((1, 3, 3, 3)), 2.0)
