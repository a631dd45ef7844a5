"""AreTomo 3 is given a folder, and its alignment and CTFs reach the right tilts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.aretomo.answer import CTF_FIGURE
from cryoloom.programs.aretomo.aretomo3_align_series import Aretomo3AlignSeriesParams, aretomo3_align_series
from makers.aretomo_stand_ins import ARETOMO3
from makers.context import MemoryContext
from makers.made_series import make_series


def test_poses_and_ctfs_by_acquisition_index(rng, stand_in):
    stand_in("AreTomo3", ARETOMO3)
    made = make_series(n_tilts=9, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=10.0)
    made.stack.images[7] = 0.0
    excluded = next(tilt.acquisition_index for tilt in made.tilts if tilt.section == 3)
    series = replace(
        made.with_tilts({excluded: {"exclusion": Exclusion.by_user("ice")}}),
        tilt_axis_deg=Sourced.from_told(-95.0, "mdoc"),
    )
    context = MemoryContext(device="cuda:0")
    found = aretomo3_align_series(series, Aretomo3AlignSeriesParams(), context)
    by_section = {tilt.section: tilt for tilt in found.tilts}
    assert by_section[3].pose is None
    assert by_section[7].is_excluded  # dark, which AreTomo found
    for tilt in found.included:
        order = tilt.acquisition_index + 1
        assert tilt.pose.axis_deg == pytest.approx(-94.0)
        assert tilt.ctf.defocus_v_angstrom == pytest.approx(20000 + 10 * order)
    assert context.figures[CTF_FIGURE.name] == pytest.approx(20000, abs=200)


def test_without_a_ctf(rng, stand_in):
    stand_in("AreTomo3", ARETOMO3)
    series = replace(
        make_series(n_tilts=5, shape_yx=(64, 48), rng=rng), tilt_axis_deg=Sourced.from_told(85.0, "mdoc")
    )
    context = MemoryContext(device="cuda:0")
    found = aretomo3_align_series(
        series, Aretomo3AlignSeriesParams(estimate_ctf=False, refine_axis=False), context
    )
    assert all(tilt.ctf is None for tilt in found.included)
    assert found.tilt_axis_deg.applied == pytest.approx(85.0)
