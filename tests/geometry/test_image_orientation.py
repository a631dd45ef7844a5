"""Turns and flips of images, as a person sees them with row 0 at the bottom."""

from __future__ import annotations

import numpy as np

from cryoloom.geometry.image_orientation import ORIENTATIONS, orient_image


def test_turns_are_counter_clockwise_as_displayed():
    """A corner walks round: bottom right goes to top right, to top left."""
    image = np.zeros((2, 3))
    image[0, 2] = 1
    assert np.argwhere(orient_image(image, 1, "none")).tolist() == [[2, 1]]
    assert np.argwhere(orient_image(image, 2, "none")).tolist() == [[1, 0]]
    assert np.argwhere(orient_image(image, 1, "upside_down")).tolist() == [[0, 1]]
    assert np.argwhere(orient_image(image, 1, "left_right")).tolist() == [[2, 0]]


def test_the_eight_orientations_are_all_there_are(rng):
    image = rng.normal(size=(3, 3))
    made = {orient_image(image, turns, flip).tobytes() for turns, flip in ORIENTATIONS}
    assert len(made) == 8
    for turns in range(4):
        assert orient_image(image, turns, "left_right").tobytes() in made
