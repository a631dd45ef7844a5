"""Rendered particles are those of a simulator that was written apart."""

from __future__ import annotations

import numpy as np
import torch

from cryoloom.algorithms.averaging.maps import map_on_grid
from cryoloom.algorithms.averaging.particle_images import BoxLayout
from cryoloom.algorithms.averaging.signal_images import SignalImages
from makers.particle_scene import true_map
from makers.small_particles import PIXEL_ANGSTROM, lumpy_particle, small_scene


def test_a_tilt_is_rendered_with_ctf_and_damage():
    model = lumpy_particle(np.random.default_rng(2))
    scene = small_scene(model, 3, np.random.default_rng(4), noise=0.0)
    layout = BoxLayout(64, 64, 32, PIXEL_ANGSTROM)
    # Twice the phase is the contrast.
    density = 2.0 * map_on_grid(torch.tensor(true_map(model, 64, PIXEL_ANGSTROM)), 5.0, 64, PIXEL_ANGSTROM)
    signal = SignalImages(
        scene.series, layout, density, scene.positions_xyz_angstrom, scene.rotations, np.ones(3)
    )
    for index in (0, 6, 11):
        tilt = scene.series.tilts[index]
        image = np.asarray(scene.series.stack.images[tilt.section], np.float64)
        background = np.median(image)
        rendered = signal.of_tilt(tilt, image.shape)
        assert np.corrcoef(rendered.ravel(), image.ravel())[0, 1] > 0.95
        slope = (rendered * (image / background - 1)).sum() / (rendered**2).sum()
        assert 0.93 < slope < 1.07
    half = SignalImages(
        scene.series, layout, density, scene.positions_xyz_angstrom, scene.rotations, np.full(3, 0.5)
    )
    assert np.allclose(half.of_tilt(tilt, image.shape), 0.5 * rendered, atol=1e-5)
