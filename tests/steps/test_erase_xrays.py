"""erase_xrays: hits vanish from the images and from both halves, which still add up."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.steps.erase_xrays import EraseXraysParams, erase_xrays


@pytest.fixture
def series(rng):
    halves = rng.poisson(10.0, (2, 3, 120, 130)).astype(np.float32)
    hits = np.stack([rng.integers(4, 116, (3, 8)), rng.integers(4, 116, (3, 8))], axis=-1)
    for section in range(3):
        halves[section % 2, section, hits[section, :, 0], hits[section, :, 1]] += 500  # in one half only
    tilts = tuple(Tilt(i, 3.0 * i, 3.0 * i, 3.0 * i + 3, section=i) for i in range(3))
    return TiltSeries(
        "TS", Microscope(), 2.0, tilts, stack=Stack(halves.sum(axis=0), 2.0, halves[0], halves[1])
    )


def test_hits_vanish_and_halves_add_up(series, context):
    after = erase_xrays(series, EraseXraysParams(), context).stack
    assert np.max(after.images[...]) < 60
    assert max(np.max(after.even[...]), np.max(after.odd[...])) < 40
    assert_allclose(after.images[...], after.even[...] + after.odd[...])
    assert context.figures["xray_pixels_per_megapixel"] == pytest.approx(24 / (3 * 120 * 130) * 1e6, rel=0.3)


def test_halves_are_not_needed(series, context):
    alone = TiltSeries("TS", series.microscope, 2.0, series.tilts, stack=Stack(series.stack.images, 2.0))
    after = erase_xrays(alone, EraseXraysParams(), context).stack
    assert after.even is None
    assert np.max(after.images[...]) < 60


def test_what_is_no_number_is_replaced_and_named(series, context):
    """Some pixels are filled like hits; a tilt of which much is lost is excluded."""
    series.stack.images[1, 5, 5] = np.nan
    series.stack.images[2, :60] = np.inf
    series.stack.even[2, 3, 3] = np.nan
    after = erase_xrays(series, EraseXraysParams(), context)
    assert all(np.isfinite(pixels[...]).all() for pixels in after.stack.present.values())
    assert [tilt.is_excluded for tilt in after.tilts] == [False, False, True]
    assert after.tilts[2].exclusion.reason == "50 % of its pixels are not finite"
    assert "replaced at 3.0 deg (0.0064 %), 6.0 deg (50 %)" in context.warnings[0]
    assert np.isnan(series.stack.images[1, 5, 5])
