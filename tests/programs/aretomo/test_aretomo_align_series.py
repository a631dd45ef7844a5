"""AreTomo's alignment reaches the right tilts, whatever it or somebody else left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Exclusion, Sourced
from cryoloom.programs.aretomo.aretomo_align_series import AretomoAlignSeriesParams, aretomo_align_series
from makers.aretomo_stand_ins import ARETOMO
from makers.made_series import make_series


@pytest.fixture
def series(rng):
    made = make_series(n_tilts=11, shape_yx=(64, 48), rng=rng, pixel_size_angstrom=10.0)
    images = made.stack.images
    images[7] = 0.0
    excluded = {tilt.acquisition_index: tilt for tilt in made.tilts if tilt.section == 3}
    changes = {index: {"exclusion": Exclusion.by_user("ice")} for index in excluded}
    return replace(made.with_tilts(changes), tilt_axis_deg=Sourced.from_told(-95.0, "mdoc"))


@pytest.fixture
def on_gpu(context):
    context.device = "cuda:0"
    return context


def test_poses_and_ctfs_go_by_acquisition_index(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO, version="1.1.3")
    found = aretomo_align_series(series, AretomoAlignSeriesParams(estimate_ctf=True), on_gpu)
    posed = [tilt for tilt in found.tilts if tilt.pose is not None]
    assert [tilt.section for tilt in found.tilts if tilt.pose is None] == [3, 7]
    for tilt in posed:
        order = tilt.acquisition_index + 1
        assert tilt.pose.axis_deg == -94.0
        assert tilt.pose.tilt_deg == tilt.nominal_tilt_deg
        # AreTomo centres at n / 2 - 1 / 2, we at n // 2: half a pixel of 10 A.
        assert_allclose(tilt.pose.shift_xy_angstrom, (10 * order + 5, -20 * order + 5), atol=10.01)
        steps = np.array(tilt.pose.shift_xy_angstrom) - np.array(posed[0].pose.shift_xy_angstrom)
        apart = order - (posed[0].acquisition_index + 1)
        assert_allclose(steps, (10 * apart, -20 * apart), atol=1e-6)
        assert tilt.ctf.defocus_v_angstrom == 20000 + 10 * order
    dark, ice = (next(t for t in found.tilts if t.section == section) for section in (7, 3))
    assert "stack.aln" in dark.exclusion.reason
    assert ice.exclusion.reason == "ice"
    assert found.stack is series.stack
    assert on_gpu.figures["n_imported"] == 9


def test_the_axis_is_held_and_the_offset_of_the_tilts_kept(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO, version="1.1.3")
    params = AretomoAlignSeriesParams(axis_deg=-96.0, refine_axis=False, tilt_offset=(1, 0.0))
    found = aretomo_align_series(series, params, on_gpu)
    assert found.tilt_axis_deg.applied == -96.0
    assert found.tilt_offset_deg.applied == pytest.approx(1.5)


def test_without_an_axis_there_is_nothing_to_hold(series, on_gpu, stand_in):
    stand_in("AreTomo2", ARETOMO)
    unknown = replace(series, tilt_axis_deg=Sourced())
    with pytest.raises(DataUnfitError, match="the tilt axis of TS_01 is unknown"):
        aretomo_align_series(unknown, AretomoAlignSeriesParams(refine_axis=False), on_gpu)


def test_without_a_gpu(series, context, stand_in):
    stand_in("AreTomo2", ARETOMO)
    with pytest.raises(UserInputError, match="AreTomo2 needs a GPU"):
        aretomo_align_series(series, AretomoAlignSeriesParams(), context)
