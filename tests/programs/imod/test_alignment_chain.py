"""What both of IMOD's alignments share: the axis to start from, the calls, and the residual that is printed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced
from cryoloom.programs.imod.alignment_chain import residual_px
from cryoloom.programs.imod.imod_align_series import ImodAlignSeriesParams, imod_align_series
from makers.imod_chain import imod, series

__all__ = ["imod", "series"]


def test_an_unknown_axis(series, context, imod):
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        imod_align_series(replace(series, tilt_axis_deg=Sourced()), ImodAlignSeriesParams(), context)


def test_the_residual_that_tiltalign_prints():
    assert residual_px(" Residual error mean and sd:    0.512    0.300\n") == 0.512
    assert residual_px("nothing of the kind") is None
