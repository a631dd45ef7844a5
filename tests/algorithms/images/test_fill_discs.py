"""Filled discs cannot be distinguished from the noise around them: level, variance, spectrum and rim."""

import numpy as np
import pytest

from cryoloom.algorithms.images.fill_discs import RIM_PX, fade_discs, fill_discs, plan_filling
from makers.bead_images import coloured_noise

RADIUS = 8.0


def scene(rng, shape=(400, 500)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    background = 100 + 0.05 * x - 0.03 * y
    bare = (background + 5 * coloured_noise(rng, shape)).astype(np.float32)
    grid = np.stack(np.meshgrid(np.arange(40, 360, 45.0), np.arange(40, 460, 45.0), indexing="ij"), -1)
    centres = grid.reshape(-1, 2) + rng.uniform(-4, 4, (grid.size // 2, 2))
    image = bare.copy()
    for centre in centres:
        image[np.hypot(y - centre[0], x - centre[1]) < RADIUS - 1] -= 40
    return image, bare, background, centres


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_level_variance_and_spectrum_are_those_around(seed):
    rng = np.random.default_rng(seed)
    image, bare, background, centres = scene(rng)
    filling = plan_filling(image.shape, centres, RADIUS, centres, rng)
    filled = fill_discs(image, filling, centres)
    cores, truths = [], []
    reach = 5
    for row, column in filling.centres:
        window = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        cores.append((filled - background)[window])
        truths.append((bare - background)[window])
    cores, truths = np.array(cores), np.array(truths)
    # 70 discs of about 10 independent grains each: means to 0.2 sigma / sqrt(70), variances to 5 %.
    assert abs(cores.mean()) < 0.4
    assert cores.var() / truths.var() == pytest.approx(1.0, abs=0.12)
    power = [np.mean(np.abs(np.fft.rfft2(discs)) ** 2, axis=0)[1:5, 1:5] for discs in (cores, truths)]
    assert np.log(power[0] / power[1]).mean() == pytest.approx(0.0, abs=0.15)
    # Filled values are not what was there.
    assert abs(np.corrcoef(cores.ravel(), truths.ravel())[0, 1]) < 0.1


def test_the_rim_does_not_show(rng):
    """Variance and mean of rings across the edge of the discs are those of the bare image."""
    image, _, background, centres = scene(rng)
    filling = plan_filling(image.shape, centres, RADIUS, centres, rng)
    flat = (fill_discs(image, filling, centres) - background) / 5
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    nearest = np.min([np.hypot(y - r, x - c) for r, c in filling.centres], axis=0)
    for inner in np.arange(RADIUS - 3, RADIUS + 5, 1.0):
        ring = flat[(nearest >= inner) & (nearest < inner + 1)]
        assert ring.mean() == pytest.approx(0.0, abs=0.12)
        assert ring.var() == pytest.approx(1.0, abs=0.12)


def test_the_rest_is_untouched_and_halves_add_up(rng):
    image, _, _, centres = scene(rng)
    filling = plan_filling(image.shape, centres, RADIUS, centres, rng)
    filled = fill_discs(image, filling, centres)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    far = np.min([np.hypot(y - r, x - c) for r, c in filling.centres], axis=0) >= RADIUS + RIM_PX
    np.testing.assert_array_equal(filled[far], image[far])
    halves = [fill_discs(image * np.float32(part), filling, centres) for part in (0.25, 0.75)]
    np.testing.assert_allclose(halves[0] + halves[1], filled, atol=1e-3)


def test_discs_at_and_beyond_the_edge(rng):
    image = coloured_noise(rng, (60, 80)).astype(np.float32)
    centres = np.array([[0.0, 40.0], [30.0, 79.0], [-30.0, 10.0], [59.0, 0.0]])
    filling = plan_filling(image.shape, centres, RADIUS, centres, rng)
    assert len(filling.centres) == 3
    assert np.isfinite(fill_discs(image, filling, centres)).all()
    assert len(plan_filling(image.shape, np.zeros((0, 2)), RADIUS, np.zeros((0, 2)), rng).centres) == 0


def test_faded_discs_are_the_background_and_the_rest_is_untouched(rng):
    image, _, background, centres = scene(rng)
    faded = fade_discs(image, centres, RADIUS, 3.0)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    nearest = np.min([np.hypot(y - r, x - c) for r, c in centres], axis=0)
    # The plane comes from about 250 grains of the ring: 5 / sqrt(250), and what its slopes add.
    assert np.abs(faded - background)[nearest < RADIUS - 1].max() < 2.5
    np.testing.assert_array_equal(faded[nearest > RADIUS + 4], image[nearest > RADIUS + 4])


def test_a_disc_with_too_little_around_it_stays(rng):
    image = rng.normal(size=(12, 12)).astype(np.float32)
    np.testing.assert_array_equal(fade_discs(image, np.array([[6.0, 6.0]]), 20.0, 3.0), image)
