"""ccderaser on the images and each of their halves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.model import Stack
from cryoloom.programs.imod.imod_erase_xrays import ImodEraseXraysParams, imod_erase_xrays
from makers.imod_stand_ins import CCDERASER
from makers.made_series import make_series


def test_images_and_halves_are_erased_alike(rng, context, stand_in):
    stand_in("ccderaser", CCDERASER)
    made = make_series(n_tilts=3, shape_yx=(12, 16), rng=rng)
    images = made.stack.images
    series = replace(made, stack=Stack(images, 2.0, images + 1, images + 2), weighted=Stack(images, 2.0))
    found = imod_erase_xrays(series, ImodEraseXraysParams(), context)
    assert found.stack.images[0][0, 0] == found.stack.even[0][0, 0] == found.stack.odd[0][0, 0] == -1.0
    assert found.stack.odd[2][3, 4] == images[2, 3, 4] + 2
    assert found.weighted is None
    assert context.figures["changed_pixels_per_megapixel"] == pytest.approx(1e6 / (3 * 12 * 16))
    assert series.stack.images[0, 0, 0] != -1.0
