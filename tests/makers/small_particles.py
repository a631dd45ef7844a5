"""A particle without symmetry, small and coarse: what tests of averaging can afford."""

from __future__ import annotations

import numpy as np

from cryoloom.simulate.particles import ParticleModel
from makers.particle_scene import Scene, make_scene

DIAMETER_ANGSTROM = 150.0
TILTS_DEG = np.arange(-54.0, 55.0, 9.0)
PIXEL_ANGSTROM = 5.0


def lumpy_particle(rng: np.random.Generator) -> ParticleModel:
    """Nine blobs of many points, 75 A in radius."""
    lumps = rng.normal(0, 28, (9, 3))
    lumps *= np.minimum(1.0, 50.0 / np.linalg.norm(lumps, axis=1, keepdims=True))
    points = np.concatenate([lump + rng.normal(0, 7, (60, 3)) for lump in lumps])
    points -= points.mean(axis=0)
    return ParticleModel("lumps", points.astype(np.float32), np.full(len(points), 8.0, np.float32))


def small_scene(model: ParticleModel, n: int, rng: np.random.Generator, **more: object) -> Scene:
    """One series of 13 tilts of 1000 A with n particles."""
    usual = {
        "shape_yx": (200, 200), "pixel": PIXEL_ANGSTROM, "tilts_deg": TILTS_DEG, "dose": 6.0,
        "thickness": 600.0, "box_px": 64,
    }  # fmt: skip
    return make_scene(model, n, rng, **(usual | more))
