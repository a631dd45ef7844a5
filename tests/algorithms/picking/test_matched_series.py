"""Gold is filled however an image is read, and where a bead has no position in space."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_array_equal

from cryoloom.algorithms.picking.matched_series import Gold, _Filled, _further_gold
from cryoloom.algorithms.series.bead_maps import bead_maps
from cryoloom.algorithms.series.tilt_images import TiltImages

PIXEL = 10.0


def image_with_gold(rng: np.random.Generator, *places_yx: tuple[int, int]) -> np.ndarray:
    image = rng.normal(100.0, 1.0, (64, 80))
    y, x = np.mgrid[:64, :80]
    for row, column in places_yx:
        image[np.hypot(y - row, x - column) < 5] -= 40.0
    return image.astype(np.float32)


def test_gold_is_filled_in_a_window_as_in_the_whole_image(rng):
    stack = np.stack([image_with_gold(rng, (20, 30)), image_with_gold(rng, (20, 30))])
    seen = np.array([[[(30 - 40) * PIXEL, (20 - 32) * PIXEL]]])
    gold = Gold(100.0, np.zeros((1, 3)), seen)

    def filled() -> _Filled:
        return _Filled(stack, 1, gold, 0, PIXEL, 110.0, np.random.default_rng(1))

    whole = filled()[1]
    assert whole.min() > 90.0
    assert_array_equal(filled()[1, 4:60, 8:72], whole[4:60, 8:72])
    assert_array_equal(filled()[0, 4:60], stack[0, 4:60])


def test_gold_without_a_position_in_space_is_found_in_its_image(rng):
    images = np.stack([image_with_gold(rng, (20, 30), (45, 60)), image_with_gold(rng, (20, 30))])
    flat = torch.from_numpy(images - 100.0)
    maps = bead_maps(TiltImages(flat, PIXEL, np.full(2, 100.0), np.ones(2)), 100.0)
    known = np.array([[(30 - 40) * PIXEL, (20 - 32) * PIXEL]])
    first, second = _further_gold(maps, np.stack([known, known]))
    assert len(second) == 0
    assert np.abs(first - [[(60 - 40) * PIXEL, (45 - 32) * PIXEL]]).max() < PIXEL
