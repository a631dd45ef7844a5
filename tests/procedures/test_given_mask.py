"""A mask given as a file: taken as it is within rounding, refused where it is none."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.procedures.given_mask import given_mask

SHAPE = (6, 6, 6)


@pytest.fixture
def mask(tmp_path, rng):
    def write(values=None):
        path = tmp_path / "mask.mrc"
        write_mrc(path, np.asarray(rng.random(SHAPE) if values is None else values, np.float32), 4.0)
        return path

    return write


def test_values_are_kept_and_overshoots_of_resampling_clipped(mask, rng):
    values = rng.random(SHAPE)
    values[0, 0, :2] = [-0.009, 1.009]
    found = given_mask(mask(values), SHAPE, "weave").numpy()
    np.testing.assert_allclose(found, values.clip(0, 1), atol=1e-6)
    assert (found.min(), found.max()) == (0.0, 1.0)


def test_a_missing_one_names_the_parameter_to_correct(tmp_path):
    with pytest.raises(UserInputError, match=r"none\.mrc is not there; correct mask of weave"):
        given_mask(tmp_path / "none.mrc", SHAPE, "weave")


def test_one_of_another_grid_tells_both(mask):
    with pytest.raises(UserInputError, match="has 6 x 6 x 6 voxels, but the average has 8 x 8 x 8"):
        given_mask(mask(), (8, 8, 8), "weave")


@pytest.mark.parametrize("value", [-0.5, 2.0, np.nan])
def test_what_is_no_mask_is_refused(mask, value):
    values = np.full(SHAPE, 0.5)
    values[1, 2, 3] = value
    with pytest.raises(UserInputError, match="expected finite values from 0 to 1"):
        given_mask(mask(values), SHAPE, "weave")


def test_an_empty_one_is_refused(mask):
    with pytest.raises(UserInputError, match="values from 0 to 0"):
        given_mask(mask(np.zeros(SHAPE)), SHAPE, "weave")
