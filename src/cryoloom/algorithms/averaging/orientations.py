"""Rotations spread evenly: over all of SO(3), one of each class of a point group, or near a direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.symmetry import asymmetric_unit

__all__ = ["even_rotations", "exponential", "rotation_angle_deg", "rotation_grid"]

Matrices = NDArray[np.float64]


def even_rotations(n: int) -> Matrices:
    """Rotations ``(n, 3, 3)`` of a super-Fibonacci spiral, evenly spread over SO(3).

    Alexa, CVPR 2022: a low-discrepancy sequence on the 3-sphere; phi = sqrt 2, psi^4 = psi + 4.
    """
    phi, psi = 2.0**0.5, 1.533751168755204288118041
    s = np.arange(n) + 0.5
    inner, outer = np.sqrt(s / n), np.sqrt(1.0 - s / n)
    alpha, beta = 2 * np.pi * s / phi, 2 * np.pi * s / psi
    return _of_quaternions(
        np.stack(
            [inner * np.sin(alpha), inner * np.cos(alpha), outer * np.sin(beta), outer * np.cos(beta)],
            axis=-1,
        )
    )


def rotation_grid(step_deg: float, group: Matrices) -> Matrices:
    """Rotations about ``step_deg`` apart, one of each class ``R S`` of a point group, ``(n, 3, 3)``.

    As many a step as HEALPix with as many turns in the plane: 768 x 48 at 7.5 degrees.
    """
    n = max(48, round(36864 * (7.5 / step_deg) ** 3))
    every = even_rotations(n)
    return every[asymmetric_unit(every, group)]


def exponential(vectors: NDArray[np.float64]) -> Matrices:
    """Rotations ``(..., 3, 3)`` of rotation vectors ``(..., 3)`` in radians."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = np.zeros((*vectors.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -vectors[..., 2], vectors[..., 1], -vectors[..., 0]
    cross -= np.swapaxes(cross, -1, -2)
    # sinc is exact at 0; (1 - cos a) / a^2 = sinc^2(a / 2) / 2.
    return (
        np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(0.5 * angle / np.pi) ** 2 * (cross @ cross)
    )


def rotation_angle_deg(
    first: Matrices, second: Matrices, group: Matrices | None = None
) -> NDArray[np.float64]:
    """Angle between rotations ``(..., 3, 3)``, the smallest over the equivalents ``first S``."""
    operators = np.eye(3)[None] if group is None else group
    # trace(second^T first S), largest where the angle is smallest.
    relative = np.einsum("...ji,...jk->...ik", second, first)
    trace = np.einsum("...ik,mki->...m", relative, operators).max(axis=-1)
    return np.rad2deg(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0)))


def _of_quaternions(q: NDArray[np.float64]) -> Matrices:
    """From unit quaternions ``(n, 4)`` as x, y, z, w."""
    x, y, z, w = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)
