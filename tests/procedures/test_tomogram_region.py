"""Which voxels a region keeps: its middle becomes the new centre."""

from __future__ import annotations

import pytest

from cryoloom.errors import UserInputError
from cryoloom.procedures.tomogram_region import kept_voxels


@pytest.mark.parametrize("n", [20, 21])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("middle", [0, 3, -2])
def test_the_middle_becomes_the_centre(n, sign, middle):
    kept = kept_voxels(n, middle, sign, 80.0, 10.0, "z")
    assert len(kept) == 8
    assert kept[len(kept) // 2] == n // 2 + middle
    assert kept.step == sign


def test_all_of_an_axis():
    assert kept_voxels(7, 0, 1, None, 10.0, "x") == range(7)


def test_a_region_outside():
    with pytest.raises(UserInputError, match="the tomogram's z reaches 200 A"):
        kept_voxels(20, 8, 1, 80.0, 10.0, "z")
