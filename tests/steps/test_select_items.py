from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError
from cryoloom.model import Average, LeftOut
from cryoloom.steps.select_items import SelectItemsParams, select_items
from makers.made_series import aligned, make_series


def choose(context, name="TS_01", **params):
    return select_items(make_series(name), SelectItemsParams(**params), context)


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({}, ["TS_01", "TS_02", "tomo_3"]),
        ({"names": "TS_*"}, ["TS_01", "TS_02"]),
        ({"names": "TS_01, tomo_3"}, ["TS_01", "tomo_3"]),
        ({"not_names": "TS_0[2-9]"}, ["TS_01", "tomo_3"]),
        ({"names": "TS_*", "not_names": "*1"}, ["TS_02"]),
    ],
)
def test_by_name(context, params, kept):
    names = ["TS_01", "TS_02", "tomo_3"]
    chosen = {name: choose(context, name, **params) for name in names}
    assert [name for name in names if not isinstance(chosen[name], LeftOut)] == kept


def test_the_series_itself_goes_on(context):
    series = make_series()
    assert select_items(series, SelectItemsParams(), context) is series


def test_by_figure_with_the_figures_given_as_reason(context):
    context.upstream_figures = {"defocus_median_angstrom": 71000.0, "fit_resolution_median_angstrom": 9.0}
    where = "defocus_um < 6 and fit_resolution_angstrom < 10"
    assert choose(context, where=where).reason == (
        f"not {where}: defocus_um is 7.1, fit_resolution_angstrom is 9"
    )
    context.upstream_figures["defocus_median_angstrom"] = 31000.0
    assert not isinstance(choose(context, where=where), LeftOut)


def test_a_figure_that_is_not_measurable_leaves_the_item_out_and_fails_nothing(context):
    context.upstream_figures = {"defocus_median_angstrom": 31000.0}
    context.upstream_not_measurable = {"fit_resolution_median_angstrom": "no tilt shows Thon rings"}
    left = choose(context, where="defocus_um < 6 and fit_resolution_angstrom < 10")
    assert left.reason.endswith(": fit_resolution_angstrom is not measurable: no tilt shows Thon rings")
    assert not isinstance(choose(context, where="defocus_um < 6"), LeftOut)


def test_by_what_every_series_has(context):
    params = SelectItemsParams(where="n_included >= 4 and highest_tilt_deg == 6 and dose_per_angstrom2 < 20")
    assert not isinstance(select_items(aligned(make_series(), [3]), params, context), LeftOut)
    assert "n_included is 3" in select_items(aligned(make_series(), [2, 3]), params, context).reason


def test_by_hand_with_a_reason(context):
    left = choose(context, not_names="TS_01", reason="cracked ice")
    assert left.reason == "cracked ice: TS_01 is one of TS_01"


def test_what_cannot_be_read_is_refused_before_anything_runs(context):
    with pytest.raises(ValidationError, match="cannot use 'import_it\\(\\)'"):
        SelectItemsParams(where="import_it() > 3")
    with pytest.raises(DataUnfitError, match="There are: dose_per_angstrom2, highest_tilt_deg"):
        choose(context, where="score > 3")


def test_an_average_is_selected_by_what_it_says_of_itself(context):
    average = Average("ribosome", np.zeros((4, 4, 4), np.float32), 5.0, n_particles=30)
    assert not isinstance(
        select_items(average, SelectItemsParams(where="n_particles > 20"), context), LeftOut
    )
    left = select_items(average, SelectItemsParams(where="n_particles > 40"), context)
    assert left.reason == "not n_particles > 40: n_particles is 30"
