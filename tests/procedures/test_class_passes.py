"""Passes over series give the same as one pass over all, in the order of the particles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from cryoloom.algorithms.averaging.particle_images import choose_boxes
from cryoloom.model import ParticleRows
from cryoloom.procedures.class_passes import ClassPasses
from makers.context import MemoryContext
from makers.mixed_scene import mixed_scene
from makers.small_particles import DIAMETER_ANGSTROM, PIXEL_ANGSTROM, lumpy_particle


def test_two_series_are_as_one():
    scene, _ = mixed_scene([lumpy_particle(np.random.default_rng(2))], (8,), 3)
    again = replace(scene.series, name="TS_2")
    layout = choose_boxes(DIAMETER_ANGSTROM, 25.0, PIXEL_ANGSTROM, 20.0)
    half = 1 + np.arange(8) % 2
    rows = ParticleRows.of("TS_1", scene.positions_xyz_angstrom, rotations=scene.rotations, half=half)
    name = np.where(np.arange(8) < 3, "TS_2", "TS_1")
    one = ClassPasses(MemoryContext(), (scene.series,), rows, layout, 25.0, np.inf)
    two = ClassPasses(
        MemoryContext(), (scene.series, again), replace(rows, tomogram=name), layout, 25.0, np.inf
    )
    assert (one.n_visible == two.n_visible).all()
    (sums,), (others,) = (passes.sums(np.ones((8, 1))) for passes in (one, two))
    scale = sums[0].data.abs().max()
    assert (sums[0].data - others[0].data).abs().max() < 1e-5 * scale
    maps = [half.map() for half in sums]
    found = [passes.likelihoods([(maps[0], maps[1])], junk=True) for passes in (one, two)]
    assert found[0].shape == (8, 2)
    assert np.allclose(found[0], found[1], rtol=1e-4)
    terms = [passes.difference_terms(torch.zeros_like(maps[0]), [maps[0]]) for passes in (one, two)]
    assert np.allclose(terms[0][0], terms[1][0], rtol=1e-3)
    z = np.linspace(-1, 1, 8)[:, None]
    differences = [passes.difference_sums(maps[0], [], z, np.zeros(8)) for passes in (one, two)]
    assert (differences[0].data - differences[1].data).abs().max() < 1e-4 * differences[0].data.abs().max()
