"""One series with particles of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from cryoloom.model import Stack
from cryoloom.simulate.particles import ParticleModel
from makers.particle_scene import Scene, scattered
from makers.small_particles import PIXEL_ANGSTROM, small_scene


def mixed_scene(
    models: Sequence[ParticleModel], counts: Sequence[int], seed: int, *, noise: float = 1.0
) -> tuple[Scene, np.ndarray]:
    """A small scene with so many particles of each model, and the model of each, from 0, ``(n,)``.

    Contrasts add, so the images of one model with noise and those of the others without are added up.
    """
    rng = np.random.default_rng(seed)
    apart = 2.0 * max(model.radius_angstrom for model in models)
    positions = scattered(sum(counts), (200, 200), PIXEL_ANGSTROM, 600.0, apart, rng)
    kind = rng.permutation(np.repeat(np.arange(len(models)), counts))[: len(positions)]
    rotations = Rotation.random(len(positions), rng).as_matrix()

    def of(model: ParticleModel, mine: np.ndarray, noise: float) -> Scene:
        # Seeded alike, so that image shifts are the same in all.
        return small_scene(
            model, 0, np.random.default_rng(seed + 1), positions=positions[mine], rotations=rotations[mine],
            noise=noise,
        )  # fmt: skip

    nobody = np.zeros(len(positions), bool)
    empty = of(models[0], nobody, 0.0).series.stack.images
    first = of(models[0], kind == 0, noise)
    images = first.series.stack.images.copy()
    for k, model in enumerate(models[1:], start=1):
        images += of(model, kind == k, 0.0).series.stack.images - empty
    series = replace(first.series, stack=Stack(images, PIXEL_ANGSTROM))
    return Scene(series, positions, rotations), kind
