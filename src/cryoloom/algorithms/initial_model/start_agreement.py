"""Agreement of the poses of two starts. False maxima have similar likelihoods but different poses.

Two maps of one specimen differ by a rotation. The poses of all particles differ by the same rotation, up to
the specimen's symmetry, which is not known yet. A particle agrees if more other particles than expected by
chance have the same rotation between the two starts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cryoloom.geometry.rotations import rotation_z

__all__ = ["agreement_of_starts", "placed_alike"]

Array = NDArray[np.float64]
Placed = tuple[NDArray[np.bool_], Array]

_SAME_STEPS = 1.5
"""Chosen: tolerance in steps of the grid. Each pose is off by a step at most, and rarely both are."""
#: Chosen: sets of random poses that give the number expected by chance, and the standard deviations above it.
_CHANCE_DRAWS, _DEVIATIONS = 5, 2.0


def agreement_of_starts(
    starts: list[Placed], best: int, step_deg: float, rng: np.random.Generator, *, about_axis: bool = False
) -> float | None:
    """Fraction of particles that the best start and the start most similar to it place alike; None for one.

    starts : which particles were used (n,), and the rotations of all (n, 3, 3).
    """
    used, rotations = starts[best]
    found = []
    for i, (other_used, other) in enumerate(starts):
        both = used & other_used
        if i != best and both.sum() > 1:
            found.append(placed_alike(rotations[both], other[both], step_deg, rng, about_axis=about_axis))
    return max(found, default=None)


def placed_alike(
    first: Array, second: Array, step_deg: float, rng: np.random.Generator, *, about_axis: bool = False
) -> float:
    """Fraction of particles, 0 to 1 beyond chance, that two sets of poses ``(n, 3, 3)`` place alike.

    about_axis : particles have known directions, so that random poses are rotated about z only.
    """
    between = np.swapaxes(first, 1, 2) @ second
    n = len(between)
    near = _neighbours(between, _SAME_STEPS * step_deg)
    by_chance = []
    for _ in range(_CHANCE_DRAWS):
        turns = rotation_z(rng.uniform(0.0, 360.0, n)) if about_axis else Rotation.random(n, rng).as_matrix()
        by_chance.append(_neighbours(between @ turns, _SAME_STEPS * step_deg))
    expected = float(np.mean(by_chance))
    least = max(expected + _DEVIATIONS * np.sqrt(expected), 1.0)
    seen, chance = float((near >= least).mean()), float((np.stack(by_chance) >= least).mean())
    return max(0.0, (seen - chance) / max(1.0 - chance, 1e-6))


def _neighbours(rotations: Array, within_deg: float) -> NDArray[np.int64]:
    """Number of other rotations within an angle of each, ``(n,)``."""
    flat = rotations.reshape(len(rotations), 9)
    near = flat @ flat.T > 1.0 + 2.0 * np.cos(np.deg2rad(within_deg))
    return np.asarray(near.sum(axis=1) - 1)
