"""Heat maps have their maxima at the picks, boxes show them, and agreement is counted one to one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from cryoloom.algorithms.denoising.unet import UNet3d
from cryoloom.algorithms.picking.heat_maps import (
    LabelledVolume,
    best_threshold,
    boxes_of,
    heat_loss,
    heat_map,
    hits,
    peaks_of,
    predicted_heat,
)

PICKS = np.array([[5.0, 8.0, 9.0], [6.0, 20.0, 25.0], [2.0, 28.0, 4.0]])


def test_maxima_are_the_picks():
    heat = heat_map((12, 32, 32), PICKS, 1.5)
    found, heights = peaks_of(heat, 5.0, 0.3)
    assert_allclose(heights, 1.0)
    assert hits(found, PICKS, 0.1) == 3
    assert heat.max() == 1.0
    # One beyond the volume leaves nothing in it.
    assert not heat_map((12, 32, 32), np.array([[-30.0, 5.0, 5.0]]), 1.5).any()


def test_boxes_come_from_the_columns_that_may_be_used(rng):
    volume = np.zeros((12, 32, 32), np.float32)
    volume[:, :, 16:] = 7.0
    target = heat_map(volume.shape, PICKS, 1.5)
    labelled = LabelledVolume(volume, target, PICKS, (0, 16), 8.0)
    images, targets = boxes_of([labelled], 40, 16, rng)
    assert images.shape == targets.shape == (40, 1, 16, 16, 16)
    assert not images.any()
    # Half of them are drawn about picks.
    assert (targets.amax(dim=(1, 2, 3, 4)) > 0.9).float().mean() > 0.4


def test_agreement_is_one_to_one():
    true = np.array([[0.0, 0, 0], [10, 0, 0], [20, 0, 0]])
    found = np.array([[0.5, 0, 0], [0.0, 0.5, 0], [10.4, 0, 0], [50, 0, 0]])
    assert hits(found, true, 1.0) == 2
    assert hits(found, np.zeros((0, 3)), 1.0) == 0
    heights = np.array([0.8, 0.2, 0.7, 0.3])
    least, recall, precision = best_threshold(found, heights, true, 1.0)
    assert 0.3 < least <= 0.7
    assert recall == 2 / 3
    assert precision == 1.0


def test_tiles_fit_together(rng):
    torch.manual_seed(1)
    network = UNet3d(2, 2)
    torch.nn.init.normal_(network.last.weight)
    volume = rng.normal(size=(16, 40, 36)).astype(np.float32)
    whole = predicted_heat(network, volume, "cpu", 64, 20)
    tiled = predicted_heat(network, volume, "cpu", 16, 20)
    assert whole.shape == volume.shape
    assert_allclose(whole, tiled, atol=1e-4)


def test_the_loss_counts_particles_more():
    network = UNet3d(2, 2)
    target = torch.zeros((1, 1, 8, 8, 8))
    # The untrained network predicts no heat at all.
    assert float(heat_loss(network, torch.ones_like(target), target).detach()) == 0.0
    target[0, 0, 4, 4, 4] = 1.0
    assert_allclose(
        float(heat_loss(network, torch.ones_like(target), target).detach()), 21.0 / 512, rtol=1e-5
    )
