"""WarpTools' CTF of a whole series: its XML file is read only if WarpTools changed it."""

from __future__ import annotations

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.programs.warp.warp_estimate_ctf import WarpEstimateCtfParams, warp_estimate_ctf
from makers.context import MemoryContext
from makers.made_series import aligned, make_series
from makers.warp_stand_ins import WARPTOOLS


@pytest.fixture
def series(rng):
    return aligned(make_series("TS 01", n_tilts=5, shape_yx=(48, 64), rng=rng, pixel_size_angstrom=4.0))


def test_the_defocus_that_warp_wrote(series, stand_in):
    stand_in("WarpTools", WARPTOOLS)
    found = warp_estimate_ctf(series, WarpEstimateCtfParams(), MemoryContext(device="cuda:0"))
    assert found.name == "TS 01"
    for tilt in found.included:
        assert tilt.ctf.defocus_angstrom == pytest.approx(32500.0, abs=10.0)
        assert tilt.ctf.refers_to == "origin"


def test_a_file_that_warp_left_as_it_was(series, stand_in):
    stand_in("WarpTools", WARPTOOLS.replace('"LEAVE"', '"AS IT IS"'))
    with pytest.raises(DataUnfitError, match=r"left stack\.xml as it was: it found no CTF of TS 01"):
        warp_estimate_ctf(series, WarpEstimateCtfParams(), MemoryContext(device="cuda:0"))
