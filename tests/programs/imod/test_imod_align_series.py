"""IMOD's patch tracking: the chain of its programs, and poses that go by acquisition index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.imod.alignment_chain import residual_px
from cryoloom.programs.imod.imod_align_series import ImodAlignSeriesParams, imod_align_series
from makers import imod_stand_ins
from makers.made_series import make_series


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=11, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=10.0)
    excluded = next(tilt.acquisition_index for tilt in made.tilts if tilt.section == 4)
    made = made.with_tilts({excluded: {"exclusion": Exclusion.by_user("ice")}})
    return replace(made, tilt_axis_deg=Sourced.from_told(84.0, "mdoc"))


@pytest.fixture
def imod(stand_in):
    for name in ("tiltxcorr", "xftoxg", "newstack", "imodchopconts", "tiltalign", "xfproduct"):
        stand_in(name, getattr(imod_stand_ins, name.upper()))


def test_poses_go_by_acquisition_index(series, context, imod):
    found = imod_align_series(series, ImodAlignSeriesParams(binning=2), context)
    assert [tilt.section for tilt in found.tilts if tilt.pose is None] == [4]
    for tilt in found.included:
        angle = tilt.nominal_tilt_deg
        assert tilt.pose.axis_deg == pytest.approx(85.0, abs=1e-3)
        assert tilt.pose.tilt_deg == pytest.approx(angle + 0.5)
        # The image is moved by (2, -1) px of 10 A a degree, so it shows the specimen at (-2, 1); IMOD's
        # centre is half a pixel from ours.
        half = np.array((-5.0, -5.0))
        assert_allclose(tilt.pose.shift_xy_angstrom, half + np.array((-20 * angle, 10 * angle)), atol=0.1)
    assert context.figures["residual_mean_angstrom"] == pytest.approx(0.512 * 2 * 10.0)
    assert context.figures["tilt_offset_deg"] == pytest.approx(0.5)


def test_the_axis_is_held(series, context, imod):
    found = imod_align_series(series, ImodAlignSeriesParams(axis_deg=80.0, rotation=0), context)
    assert found.tilt_axis_deg.applied == pytest.approx(80.0, abs=1e-3)


def test_an_unknown_axis(series, context, imod):
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        imod_align_series(replace(series, tilt_axis_deg=Sourced()), ImodAlignSeriesParams(), context)


def test_the_residual_that_tiltalign_prints():
    assert residual_px(" Residual error mean and sd:    0.512    0.300\n") == 0.512
    assert residual_px("nothing of the kind") is None


TOO_FEW = """
if "-RobustFitting" in ARGUMENTS:
    fail("TILTALIGN - TOO FEW DATA POINTS TO DO ROBUST FITTING")
"""


def test_too_few_points_for_robust_fitting(series, context, imod, stand_in):
    stand_in("tiltalign", TOO_FEW + imod_stand_ins.TILTALIGN)
    found = imod_align_series(series, ImodAlignSeriesParams(robust=True), context)
    assert found.included[0].pose.axis_deg == pytest.approx(85.0, abs=1e-3)
    assert "too few points for robust fitting" in context.warnings[0]
    stand_in("tiltalign", TOO_FEW.replace("ROBUST FITTING", "ANYTHING") + imod_stand_ins.TILTALIGN)
    with pytest.raises(DataUnfitError, match="TOO FEW DATA POINTS TO DO ANYTHING"):
        imod_align_series(series, ImodAlignSeriesParams(robust=True), context)
