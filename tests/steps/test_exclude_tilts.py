from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.model import Stack
from cryoloom.steps.exclude_tilts import ExcludeTiltsParams, exclude_tilts
from cryoloom.steps.weight_dose import WeightDoseParams, weight_dose
from makers.made_series import aligned, make_series


def test_tilts_are_marked_with_the_reason_and_nothing_is_renumbered(context):
    # Tilts -6, -3, 0, 3, 6 deg are exposures 3, 1, 0, 2, 4: view 1 is exposure 3.
    params = ExcludeTiltsParams(tilts={"TS_01": [2]}, views={"TS_01": [1], "TS_02": [5]}, reason="ice")
    result = exclude_tilts(make_series(), params, context)
    assert [t.acquisition_index for t in result.tilts if t.is_excluded] == [3, 2]
    assert {t.exclusion.reason for t in result.tilts if t.is_excluded} == {"ice"}
    assert [t.section for t in result.tilts] == [0, 1, 2, 3, 4]
    assert context.pixels == {}
    assert context.figures == {"n_excluded": 2.0}


def test_a_new_stack_holds_only_what_is_kept(context, rng):
    series = make_series(rng=rng)
    half = np.asarray(series.stack.images) + 1
    series = replace(
        series,
        stack=replace(series.stack, even=half),
        weighted=Stack(np.asarray(series.stack.images) * 2, 2.0),
    )
    params = ExcludeTiltsParams(tilts={"TS_01": [2]}, restack=True)
    result = exclude_tilts(aligned(series, leave_out=(3,)), params, context)
    assert {t.acquisition_index: t.section for t in result.tilts} == {3: None, 1: 0, 0: 1, 2: None, 4: 2}
    assert result.stack.images.shape == (3, 12, 16)
    for tilt in result.included:
        before = next(t for t in series.tilts if t.acquisition_index == tilt.acquisition_index)
        for name in ("images", "even"):
            old, new = getattr(series.stack, name), getattr(result.stack, name)
            np.testing.assert_array_equal(new[tilt.section], old[before.section])
        np.testing.assert_array_equal(
            result.weighted.images[tilt.section], series.weighted.images[before.section]
        )
    assert [t.exclusion.reason for t in result.tilts if t.is_excluded] == ["dark", "by hand"]
    # What follows takes such a series.
    weighted = weight_dose(result, WeightDoseParams(), context)
    assert weighted.weighted.images.shape == (3, 12, 16)


@pytest.mark.parametrize(
    ("params", "words"),
    [({"tilts": {"TS_01": [5]}}, "expected 0 to 4"), ({"views": {"TS_01": [0]}}, r"expected 1 .* to 5")],
)
def test_a_tilt_that_is_not_there_is_refused(context, params, words):
    with pytest.raises(UserInputError, match=words):
        exclude_tilts(make_series(), ExcludeTiltsParams(**params), context)


def test_something_must_be_kept(context):
    with pytest.raises(DataUnfitError, match="every tilt"):
        exclude_tilts(make_series(), ExcludeTiltsParams(tilts={"TS_01": range(5)}), context)
    with pytest.raises(ValidationError):
        ExcludeTiltsParams(tilts={"TS_01": ["a"]})
