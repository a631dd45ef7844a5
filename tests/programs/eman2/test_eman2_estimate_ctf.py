"""EMAN2's CTF: the tilts in use, matched by section; phases above the amplitude contrast."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError
from cryoloom.programs.eman2.eman2_estimate_ctf import Eman2EstimateCtfParams, eman2_estimate_ctf
from makers.eman2_stand_ins import E2SPT_TOMOCTF
from makers.made_series import aligned, make_series


@pytest.fixture
def series(stand_in):
    stand_in("e2spt_tomoctf.py", E2SPT_TOMOCTF)
    return aligned(make_series(n_tilts=7, shape_yx=(520, 530)), leave_out=(4,))


def test_defoci_are_those_of_their_tilts(series, context):
    found = eman2_estimate_ctf(series, Eman2EstimateCtfParams(), context)
    used = sorted(found.included, key=lambda tilt: tilt.section)
    for i, tilt in enumerate(used):
        expected = 30000.0 + 100.0 * i + 10.0 * tilt.nominal_tilt_deg
        assert tilt.ctf.defocus_angstrom == pytest.approx(expected, abs=0.1)
        assert tilt.ctf.phase_shift_deg == 0.0  # one phase was tried: nothing was measured
        assert tilt.ctf.refers_to == "origin"
    assert context.figures["n_fitted"] == 6


def test_a_fitted_phase_is_less_the_amplitude_contrast(series, context):
    params = Eman2EstimateCtfParams(phase_range_deg=(0.0, 90.0, 5.0))
    found = eman2_estimate_ctf(series, params, context)
    assert found.included[0].ctf.phase_shift_deg == pytest.approx(15.0 - np.rad2deg(np.arcsin(0.1)), abs=1e-3)


def test_no_answer_is_said(series, context, stand_in):
    stand_in("e2spt_tomoctf.py", E2SPT_TOMOCTF.replace('info["defocus"] =', "unused ="))
    with pytest.raises(DataUnfitError, match="it found no CTF"):
        eman2_estimate_ctf(series, Eman2EstimateCtfParams(), context)


def test_ranges_that_cannot_be():
    with pytest.raises(ValidationError, match="expected low < high"):
        Eman2EstimateCtfParams(defocus_range_um=(5.0, 2.0, 0.1))
