"""ctfplotter: values go to sections, excluded views are skipped, units are IMOD's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.imod.imod_estimate_ctf import ImodEstimateCtfParams, imod_estimate_ctf
from makers.imod_stand_ins import CTFPLOTTER
from makers.made_series import make_series


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=7, shape_yx=(16, 16), rng=rng, pixel_size_angstrom=2.5)
    excluded = next(tilt.acquisition_index for tilt in made.tilts if tilt.section == 2)
    made = made.with_tilts({excluded: {"exclusion": Exclusion.by_user("ice")}})
    return replace(made, tilt_axis_deg=Sourced.from_told(85.0, "mdoc"))


def test_defocus_by_section_in_angstrom(series, context, stand_in):
    stand_in("ctfplotter", CTFPLOTTER)
    params = ImodEstimateCtfParams(expected_defocus_angstrom=41000.0, defocus_tolerance_angstrom=1500.0)
    found = imod_estimate_ctf(series, params, context)
    for tilt in found.included:
        assert tilt.ctf.defocus_u_angstrom == pytest.approx(10 * (4000 + tilt.section + 1))
        assert tilt.ctf.defocus_v_angstrom == pytest.approx(10 * (3900 + tilt.section + 1))
    words = (context.scratch() / "ctfplotter.txt").read_text()
    assert "-PixelSize 0.25 " in words
    assert "-ExpectedDefocus 4100 " in words
    assert "-DefocusTol 150 " in words
    assert "-ViewsToSkip 3 " in words
    assert "-AutoFitRangeAndStep 16,2 " in words


def test_what_it_must_know(series, context, stand_in):
    stand_in("ctfplotter", CTFPLOTTER)
    with pytest.raises(DataUnfitError, match="give expected_defocus_angstrom"):
        imod_estimate_ctf(series, ImodEstimateCtfParams(), context)
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        imod_estimate_ctf(
            replace(series, tilt_axis_deg=Sourced()),
            ImodEstimateCtfParams(expected_defocus_angstrom=4e4),
            context,
        )
