"""Evenly distributed directions and rotations, for exhaustive searches."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.rotations import rotation_from_quaternion, rotation_z
from cryoloom.geometry.symmetry import asymmetric_unit

__all__ = [
    "even_directions",
    "half_sphere_directions",
    "rotation_grid",
    "rotations_between",
    "rotations_near",
    "z_axis_to",
]

Array = NDArray[np.float64]

# Constants of the super-Fibonacci spiral: Alexa, CVPR 2022, 8281-8290.
_SPIRAL_PHI, _SPIRAL_PSI = math.sqrt(2.0), 1.533751168755204288118041


def even_directions(n: int) -> Array:
    """Unit vectors ``(n, 3)`` evenly distributed on the sphere (a Fibonacci lattice)."""
    z = 1.0 - (2.0 * np.arange(n) + 1.0) / n
    angle = math.pi * (3.0 - math.sqrt(5.0)) * np.arange(n)
    ring = np.sqrt(1.0 - z**2)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), z])


def half_sphere_directions(step_deg: float) -> Array:
    """Unit vectors ``(n, 3)`` with z >= 0, about ``step_deg`` apart: one of each pair of opposite ones."""
    n = math.ceil(4.0 * math.pi / math.radians(step_deg) ** 2)
    found = even_directions(2 * ((n + 1) // 2))
    return found[found[:, 2] >= 0]


def rotation_grid(step_deg: float, operators: ArrayLike | None = None) -> Array:
    """Evenly distributed rotations ``(n, 3, 3)``, one of each class ``R S`` of equivalent ones.

    step_deg : edge of the cube of rotation space that each represents: 4400 rotations at 15 degrees without
    symmetry, 35,000 at 7.5. operators : symmetry of the reference, ``(m, 3, 3)``.
    Super-Fibonacci spirals: Alexa, CVPR 2022.
    """
    n = max(8, math.ceil(8.0 * math.pi**2 / math.radians(step_deg) ** 3))
    s = np.arange(n) + 0.5
    inner, outer = np.sqrt(s / n), np.sqrt(1.0 - s / n)
    alpha, beta = 2.0 * math.pi * s / _SPIRAL_PHI, 2.0 * math.pi * s / _SPIRAL_PSI
    x, y = inner * np.sin(alpha), inner * np.cos(alpha)
    z, w = outer * np.sin(beta), outer * np.cos(beta)
    rotations = rotation_from_quaternion(x, y, z, w)
    if operators is None:
        return rotations
    return rotations[asymmetric_unit(rotations, operators)]


def rotations_near(step_deg: float, reach_deg: float) -> Array:
    """Rotations ``(n, 3, 3)`` about ``step_deg`` apart, none farther than ``reach_deg`` from the identity.

    The identity is the first. They are rotation vectors on a cubic lattice.
    """
    n = math.ceil(reach_deg / step_deg)
    axis = np.arange(-n, n + 1) * step_deg
    vectors = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    length = np.linalg.norm(vectors, axis=1)
    order = np.argsort(length, kind="stable")
    vectors = np.deg2rad(vectors[order[length[order] <= reach_deg * (1 + 1e-9)]])
    angle = np.linalg.norm(vectors, axis=1)
    half = 0.5 * angle
    scale = 0.5 * np.sinc(half / math.pi)
    x, y, z = (vectors * scale[:, None]).T
    return rotation_from_quaternion(x, y, z, np.cos(half))


def rotations_between(one: ArrayLike, other: ArrayLike, operators: ArrayLike | None = None) -> Array:
    """Angles in degrees ``(...)`` between rotations ``(..., 3, 3)``, smallest over equivalents ``R S``."""
    relative = np.swapaxes(np.asarray(one, dtype=np.float64), -1, -2) @ np.asarray(other, dtype=np.float64)
    group = np.eye(3)[None] if operators is None else np.asarray(operators, dtype=np.float64)
    trace = np.einsum("...ij,mji->...m", relative, group).max(axis=-1)
    return np.rad2deg(np.arccos(np.clip(0.5 * (trace - 1.0), -1.0, 1.0)))


def z_axis_to(directions: ArrayLike, azimuth_deg: ArrayLike = 0.0) -> Array:
    """Rotations ``(n, 3, 3)`` that take z to each direction ``(n, 3)``, after a turn about z.

    Without azimuth it is the shortest rotation; for -z a half turn about x.
    """
    d = np.asarray(directions, dtype=np.float64)
    d = d / np.linalg.norm(d, axis=-1, keepdims=True)
    # Half-way quaternion of z and d: (z x d, 1 + z.d).
    w = 1.0 + d[..., 2]
    opposite = w < 1e-12
    x = np.where(opposite, 1.0, -d[..., 1])
    y = np.where(opposite, 0.0, d[..., 0])
    w = np.where(opposite, 0.0, w)
    length = np.sqrt(x**2 + y**2 + w**2)
    shortest = rotation_from_quaternion(x / length, y / length, np.zeros_like(x), w / length)
    return shortest @ rotation_z(azimuth_deg)
