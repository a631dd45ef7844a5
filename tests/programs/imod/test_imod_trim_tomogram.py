"""trimvol keeps what trim_tomogram keeps, with the same origin."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import UserInputError
from cryoloom.model import Tomogram
from cryoloom.programs.imod.imod_trim_tomogram import ImodTrimTomogramParams, imod_trim_tomogram
from cryoloom.steps.trim_tomogram import TrimTomogramParams, trim_tomogram
from makers.context import MemoryContext
from makers.imod_stand_ins import TRIMVOL
from makers.made_series import aligned, make_series

REGION = {
    "thickness_angstrom": 60.0, "length_angstrom": 80.0, "middle_xyz_angstrom": (0.0, 20.0, -10.0)
}  # fmt: skip


@pytest.fixture
def tomogram(rng, stand_in):
    stand_in("trimvol", TRIMVOL)
    volume = rng.normal(size=(14, 20, 9)).astype(np.float32)
    return Tomogram(aligned(make_series()), volume, 10.0, volume + 1, volume - 1)


def test_the_same_voxels_and_poses_as_the_native_step(tomogram, context):
    found = imod_trim_tomogram(tomogram, ImodTrimTomogramParams(**REGION), context)
    native = trim_tomogram(tomogram, TrimTomogramParams(**REGION), MemoryContext())
    assert found.volume.shape == (6, 8, 9)
    assert_allclose(found.volume, native.volume)
    assert_allclose(found.odd, native.odd)
    assert [t.pose for t in found.series.tilts] == [t.pose for t in native.series.tilts]
    assert context.figures["kept_percent"] == pytest.approx(100 * 6 * 8 / (14 * 20))


def test_a_region_that_does_not_fit(tomogram, context):
    with pytest.raises(UserInputError, match="at most 140 A can be kept"):
        imod_trim_tomogram(tomogram, ImodTrimTomogramParams(thickness_angstrom=400.0), context)
