"""mtffilter gets the dose of every section, whatever the order of the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.programs.imod.imod_weight_dose import ImodWeightDoseParams, imod_weight_dose
from makers.imod_stand_ins import MTFFILTER
from makers.made_series import make_series


def test_every_section_has_its_own_dose(rng, context, stand_in):
    stand_in("mtffilter", MTFFILTER)
    series = make_series(n_tilts=5, shape_yx=(8, 8), rng=rng)
    # Sections in order of acquisition instead of tilt.
    series = series.with_tilts({t.acquisition_index: {"section": t.acquisition_index} for t in series.tilts})
    found = imod_weight_dose(series, ImodWeightDoseParams(), context)
    for tilt in found.tilts:
        assert found.weighted.images[tilt.section][0, 0] == tilt.dose_start_per_angstrom2
    assert found.stack is series.stack
    assert context.figures["total_dose_per_angstrom2"] == 15.0


def test_unknown_doses(rng, context, stand_in):
    stand_in("mtffilter", MTFFILTER)
    series = make_series(n_tilts=3, rng=rng)
    tilts = tuple(replace(t, dose_start_per_angstrom2=0.0, dose_end_per_angstrom2=0.0) for t in series.tilts)
    with pytest.raises(DataUnfitError, match="the doses of TS_01 are unknown"):
        imod_weight_dose(replace(series, tilts=tilts), ImodWeightDoseParams(), context)
