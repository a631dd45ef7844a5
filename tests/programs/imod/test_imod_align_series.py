"""IMOD's patch tracking: the chain of its programs, and poses that go by acquisition index."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.programs.imod.imod_align_series import ImodAlignSeriesParams, imod_align_series
from makers import imod_stand_ins
from makers.imod_chain import imod, series

__all__ = ["imod", "series"]


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
