"""What both of IMOD's alignments share: the axis to start from, the calls, and the printed residual."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced
from cryoloom.programs.imod.alignment_chain import axis_arguments, coarse_calls, residual_px, solution_calls
from cryoloom.programs.imod.imod_align_series import ImodAlignSeriesParams, imod_align_series
from makers.imod_chain import imod, series

__all__ = ["imod", "series"]


def test_an_unknown_axis(series, context, imod):
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        imod_align_series(replace(series, tilt_axis_deg=Sourced()), ImodAlignSeriesParams(), context)


def test_the_residual_that_tiltalign_prints():
    assert residual_px(" Residual error mean and sd:    0.512    0.300\n") == 0.512
    assert residual_px("nothing of the kind") is None


def test_the_calls_are_of_one_chain(series):
    params = ImodAlignSeriesParams(binning=3, cumulative=True, axis_deg=-12.5, rotation=0, robust=False)
    coarse, solution = coarse_calls(series, params), solution_calls(series, params)
    written, read = {"stack.mrc", "stack.fid"}, []
    for call in (*coarse, *solution):
        inputs = {word for word in call.arguments if word.startswith("stack.")} - set(call.writes)
        read.append(inputs - written - set(call.files))
        written |= set(call.writes) | set(call.files)
        written |= {"stack.xtilt", "stack.rawtlt"}
    assert read == [set()] * 5
    assert "-CumulativeCorrelation" in coarse[0].arguments
    angles = coarse[0].files["stack.rawtlt"].split()
    in_order = sorted(series.tilts, key=lambda tilt: tilt.section)
    assert [float(angle) for angle in angles] == pytest.approx(
        [t.nominal_tilt_deg for t in in_order], abs=1e-4
    )
    align = solution[0].arguments
    assert align[align.index("-ImagesAreBinned") + 1] == "3"
    assert align[align.index("-RotationAngle") + 1] == "-12.5"
    assert "-RobustFitting" not in align
    assert solution[1].arguments[-1] == "1,3"


def test_the_axis_to_start_from_is_the_series_unless_given(series):
    assert axis_arguments(series, ImodAlignSeriesParams())[1] == "84"
    assert axis_arguments(series, ImodAlignSeriesParams(axis_deg=80.0))[1] == "80"


def test_the_last_residual_counts():
    text = "Residual error mean and sd: 9.0 1.0\nanother solution\n Residual error mean and sd:   0.5  0.3\n"
    assert residual_px(text) == 0.5
    assert residual_px("Residual error mean and sd: none") is None
