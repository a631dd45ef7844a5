"""Tilts that Warp leaves out at its import are excluded; its table is matched by acquisition index."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Exclusion, Stack
from cryoloom.programs.warp.warp_select_tilts import WarpSelectTiltsParams, parse, warp_select_tilts
from makers.context import MemoryContext
from makers.made_series import make_series
from makers.warp_stand_ins import WARPTOOLS


@pytest.fixture
def series(rng, stand_in):
    stand_in("WarpTools", WARPTOOLS)
    made = make_series("TS 01", n_tilts=7, shape_yx=(8, 10), step_deg=20.0)
    images = rng.normal(100, 1, (7, 8, 10)).astype("float32")
    dark = next(t.section for t in made.tilts if t.acquisition_index == 4)
    images[dark] = 5.0
    made = made.with_tilts({2: {"exclusion": Exclusion.by_user("ice")}})
    return replace(made, stack=Stack(images, 2.0))


def test_dark_and_steep_tilts_are_excluded(series):
    context = MemoryContext(device="cuda:0")
    found = warp_select_tilts(series, WarpSelectTiltsParams(max_tilt_deg=50), context)
    why = {t.acquisition_index: t.exclusion.reason for t in found.tilts if t.is_excluded}
    steep = {t.acquisition_index for t in series.tilts if abs(t.nominal_tilt_deg) > 50}
    assert why.pop(2) == "ice"
    assert set(why) == {4} | steep
    assert set(why.values()) == {"left out by Warp"}
    assert context.figures["n_excluded"] == len(why) + 1
    assert len(found.tilts) == 7


def test_a_table_of_other_images(tmp_path):
    (tmp_path / "s.tomostar").write_text("\ndata_\n\nloop_\n_wrpMovieName #1\n_wrpDose #2\nsome.mrc 1\n")
    with pytest.raises(DataUnfitError, match="names no images as they were given"):
        parse(tmp_path / "s.tomostar")
