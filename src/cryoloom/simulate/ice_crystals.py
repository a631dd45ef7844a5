"""Ice crystals that fell on the specimen: large, dark, and darker or lighter in every tilt.

A crystal takes electrons out of the image by its thickness along the beam, and by how near it stands to a
Bragg reflection, which changes from tilt to tilt: contrast that no projection of one density explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.truth import TiltTruth

__all__ = ["IceCrystals", "crystal_contrast", "place_crystals"]

_MEAN_FREE_PATH_ANGSTROM = 2500.0
"""Mean free path of electrons in a crystal, for reflections and energy losses together."""
_FLICKER = 0.5
"""Natural logarithm of the scattering power, rms over tilts."""


@dataclass(frozen=True, slots=True)
class IceCrystals:
    """Ellipsoids: a point r is inside where ``|form (r - centre)| < 1``; specimen frame, angstrom."""

    centres_xyz_angstrom: NDArray[np.float64]
    forms: NDArray[np.float64]
    """``(crystal, 3, 3)`` in 1 / A."""


def place_crystals(
    n: int,
    diameter_angstrom: float,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    half: float,
    rng: np.random.Generator,
) -> IceCrystals:
    """Crystals on both surfaces of ice that reaches from low to high and -half to half, in its own frame."""
    axes = 0.5 * diameter_angstrom * rng.uniform(0.5, 1.0, (n, 3))
    surface = rng.choice([-1.0, 1.0], n) * (half + 0.3 * axes.mean(axis=1))
    turns = Rotation.random(n, rng).as_matrix() if n else np.zeros((0, 3, 3))
    return IceCrystals(np.column_stack([rng.uniform(low, high, (n, 2)), surface]), turns / axes[:, :, None])


def crystal_contrast(
    crystals: IceCrystals,
    tilt: TiltTruth,
    params: SimulationParams,
    shape_yx: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Fraction of the intensity that the crystals remove, ``(y, x)``: ``1 - exp(-path / mean free path)``."""
    matrix = tilt.pose.matrix
    centres = crystals.centres_xyz_angstrom @ matrix.T + np.append(tilt.shift_xy_angstrom, 0.0)
    power = np.exp(_FLICKER * rng.standard_normal(len(centres)))
    lost = np.zeros(shape_yx)
    n_y, n_x = shape_yx
    x = (np.arange(n_x) - n_x // 2) * params.pixel_size_angstrom
    y = (np.arange(n_y) - n_y // 2) * params.pixel_size_angstrom
    for (at_x, at_y, _), form, share in zip(centres, crystals.forms @ matrix.T, power, strict=True):
        # |form (x, y, z)|^2 = 1 is quadratic in z; the path is the distance of its two solutions.
        square = form.T @ form
        dx, dy = (x - at_x)[None, :], (y - at_y)[:, None]
        linear = square[0, 2] * dx + square[1, 2] * dy
        rest = square[0, 0] * dx**2 + 2 * square[0, 1] * dx * dy + square[1, 1] * dy**2 - 1.0
        path = 2 * np.sqrt(np.maximum(linear**2 - square[2, 2] * rest, 0.0)) / square[2, 2]
        lost += share * path / _MEAN_FREE_PATH_ANGSTROM
    return -np.expm1(-lost).astype(np.float32)
