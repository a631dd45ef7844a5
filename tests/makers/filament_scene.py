"""Tilt series of filaments: helices of subunits along smooth curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoloom.algorithms.picking.filaments import Filament, fit_filament, sample_filament
from cryoloom.model import Tomogram
from cryoloom.simulate.particles import ParticleModel
from makers.particle_scene import make_scene

RISE_ANGSTROM, TWIST_DEG, RADIUS_ANGSTROM = 27.5, -166.6, 17.0
"""Those of actin: two strands of subunits, about 80 A across."""


@dataclass(frozen=True)
class FilamentScene:
    """A tomogram of filaments, and their axes."""

    tomogram: Tomogram
    axes: tuple[np.ndarray, ...]


def filament_scene(
    seed: int, n_filaments: int = 3, *, pixel: float = 8.0, noise: float = 1.0
) -> FilamentScene:
    """Bent filaments in 600 A of ice, 1600 A wide; subunits are blobs of points."""
    rng = np.random.default_rng(seed)
    shape = (200, 200)
    half = 0.5 * shape[0] * pixel
    turn = rng.uniform(0.0, np.pi)
    axes = tuple(_axis(rng, half, k, n_filaments, turn) for k in range(n_filaments))
    points = np.concatenate([_subunits(axis, rng) for axis in axes])
    model = ParticleModel("filaments", points.astype(np.float32), np.full(len(points), 10.0, np.float32))
    scene = make_scene(
        model, 1, rng, shape_yx=shape, pixel=pixel, tilts_deg=np.arange(-60.0, 61.0, 4.0), dose=3.0,
        thickness=600.0, positions=np.zeros((1, 3)), rotations=np.eye(3)[None], box_px=256, noise=noise,
    )  # fmt: skip
    volume = np.zeros((76, *shape), np.float32)
    return FilamentScene(
        Tomogram(scene.series, volume, pixel), tuple(one.points_xyz_angstrom for one in axes)
    )


def _axis(rng: np.random.Generator, half: float, k: int, n: int, turn: float) -> Filament:
    """A curve across the field, at its own height and offset so that curves do not touch."""
    along = np.linspace(-0.75 * half, 0.75 * half, 7)
    bend = rng.uniform(-0.12, 0.12) * half * np.cos(np.pi * along / (1.5 * half))
    side = (k - 0.5 * (n - 1)) * 0.45 * half + bend
    height = rng.uniform(-120.0, 120.0) + rng.uniform(-0.08, 0.08) * along
    angle = turn + rng.uniform(-0.15, 0.15)
    x, y = np.cos(angle) * along - np.sin(angle) * side, np.sin(angle) * along + np.cos(angle) * side
    return fit_filament(np.stack([x, y, height], axis=-1), 1.0)


def _subunits(axis: Filament, rng: np.random.Generator) -> np.ndarray:
    places = sample_filament(axis, RISE_ANGSTROM, TWIST_DEG)
    blob = rng.normal(0.0, 13.0, (24, 3)) + np.array([RADIUS_ANGSTROM, 0.0, 0.0])
    return np.concatenate(
        [
            place + blob @ turn.T
            for place, turn in zip(places.positions_xyz_angstrom, places.rotations, strict=True)
        ]
    )
