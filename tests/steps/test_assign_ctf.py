from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Sourced
from cryoloom.steps.assign_ctf import AssignCtfParams, assign_ctf
from makers.made_series import aligned, make_series


def test_ctf_comes_by_acquisition_index_and_poses_stay(context):
    series = aligned(make_series()).with_tilts({k: {"ctf": None} for k in range(5)})
    other = replace(aligned(make_series()), handedness=Sourced.from_told(-1.0, "test"))
    result = assign_ctf(series, AssignCtfParams(), context, ctf_from=other)
    assert {t.acquisition_index: t.ctf.defocus_u_angstrom for t in result.tilts} == {
        k: 20000.0 + k for k in range(5)
    }
    assert [t.pose for t in result.tilts] == [t.pose for t in series.tilts]
    assert result.handedness.applied == -1.0
    with pytest.raises(DataUnfitError, match="was not estimated"):
        assign_ctf(other, AssignCtfParams(), context, ctf_from=make_series())
