"""Volumes that hold a planted slab."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.reconstruction.tomogram_thickness import (
    LARGEST_ERROR_ANGSTROM,
    is_slab_known,
    thickness_around,
)
from cryoloom.model import Slab, Sourced

SLAB = Slab(
    thickness_angstrom=Sourced(measured=1000.0),
    z_offset_angstrom=Sourced(measured=150.0),
    tilt_y_deg=Sourced(measured=4.0),
    tilt_x_deg=Sourced(measured=-2.0),
    middle_error_angstrom=20.0,
)


def test_both_surfaces_lie_inside_at_every_corner():
    length, width = 4000.0, 3000.0
    thickness = thickness_around(SLAB, length, width)
    middle, slope_x, slope_y = SLAB.plane
    half = 500.0 * math.hypot(1, slope_x, slope_y)
    corners = [
        middle + x * slope_x + y * slope_y for x in (-width / 2, width / 2) for y in (-length / 2, length / 2)
    ]
    farthest = max(abs(corner) for corner in corners) + half
    # A margin of 200 A and twice the error of the middle, and no more.
    assert thickness / 2 == pytest.approx(farthest + 200.0 + 40.0)


def test_thick_and_uncertain_slabs_have_a_wider_margin():
    plain = thickness_around(SLAB, 0.0, 0.0)
    uncertain = thickness_around(replace(SLAB, thickness_error_angstrom=350.0), 0.0, 0.0)
    assert uncertain - plain == pytest.approx(2 * 150.0)
    thick = replace(SLAB, thickness_angstrom=Sourced(measured=3000.0))
    grown = 2000.0 * math.hypot(1, *SLAB.plane[1:])
    assert thickness_around(thick, 0.0, 0.0) - plain == pytest.approx(grown + 2 * (450.0 - 200.0))


def test_a_slab_is_known_with_its_thickness_its_pretilt_and_a_small_error():
    assert is_slab_known(SLAB)
    assert not is_slab_known(replace(SLAB, thickness_angstrom=Sourced()))
    assert not is_slab_known(replace(SLAB, tilt_y_deg=Sourced()))
    assert not is_slab_known(replace(SLAB, middle_error_angstrom=None))
    assert is_slab_known(replace(SLAB, thickness_error_angstrom=250.0))
    assert not is_slab_known(replace(SLAB, thickness_error_angstrom=251.0))
    assert not is_slab_known(replace(SLAB, middle_error_angstrom=np.nextafter(LARGEST_ERROR_ANGSTROM, 1e9)))
