"""Gain orientation: found on noisy counts of a specimen, and not claimed where the data do not tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryoloom.algorithms.motion.gain_orientation import find_gain_orientation
from cryoloom.geometry.image_orientation import ORIENTATIONS, orient_image


def counts_and_gain(rng, shape, spread, mean_counts):
    """Counts of beads and a thickness gradient, and the gain oriented like them."""
    response = rng.normal(1, spread, shape).clip(0.3, 2)
    specimen = 1.0 + 0.3 * gaussian_filter(rng.normal(size=shape), 20) * 60
    for y, x in rng.integers(10, min(shape) - 10, (20, 2)):
        specimen[y - 5 : y + 5, x - 5 : x + 5] *= 0.4
    counts = rng.poisson(mean_counts * specimen.clip(0.1) * response).astype(np.float32)
    gain = (1 / response).astype(np.float32)
    gain[:, 33] = 0
    counts[:, 33] = 0
    counts[7, 9] = 1e6
    return counts, gain


def filed(gain, quarter_turns, flip):
    flipped = gain[::-1] if flip == "upside_down" else gain
    return np.rot90(flipped, quarter_turns)


@pytest.mark.parametrize(("quarter_turns", "flip"), ORIENTATIONS)
@pytest.mark.parametrize("shape", [(256, 256), (256, 192)])
def test_finds_every_orientation(rng, shape, quarter_turns, flip):
    counts, gain = counts_and_gain(rng, shape, spread=0.05, mean_counts=20)
    found = find_gain_orientation(counts, filed(gain, quarter_turns, flip))
    assert found.is_certain
    assert (found.best.quarter_turns, found.best.flip) == (quarter_turns, flip)
    assert len(found.trials) == (8 if shape[0] == shape[1] else 4)
    assert np.array_equal(orient_image(filed(gain, quarter_turns, flip), quarter_turns, flip), gain)


def test_a_weak_pattern_is_found_on_enough_pixels(rng):
    counts, gain = counts_and_gain(rng, (512, 512), spread=0.02, mean_counts=40)
    found = find_gain_orientation(counts, filed(gain, 3, "none"))
    assert found.is_certain
    assert (found.best.quarter_turns, found.best.flip) == (3, "none")


def test_a_pattern_damped_by_coincidence_is_found(rng):
    """One event a pixel and frame at most: at 0.7 electrons a frame half of the pattern is lost."""
    response = rng.normal(1, 0.06, (256, 256)).clip(0.3, 2)
    counts = rng.binomial(120, 1 - np.exp(-0.7 * response)).astype(np.float32)
    found = find_gain_orientation(counts, filed((1 / response).astype(np.float32), 1, "upside_down"))
    assert found.is_certain
    assert (found.best.quarter_turns, found.best.flip) == (1, "upside_down")


@pytest.mark.parametrize("case", ["flat gain", "corrected already", "another camera"])
def test_does_not_claim_what_the_data_do_not_tell(rng, case):
    counts, gain = counts_and_gain(rng, (256, 256), spread=0.05, mean_counts=20)
    if case == "flat gain":
        gain = np.ones_like(gain)
    elif case == "corrected already":
        counts = counts * gain
    else:
        gain = (1 / rng.normal(1, 0.05, gain.shape).clip(0.3, 2)).astype(np.float32)
    assert not find_gain_orientation(counts, gain).is_certain
