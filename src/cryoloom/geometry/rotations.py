"""Right-handed rotation matrices acting on xyz columns, and the Euler angles other programs write."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "euler_zxz_deg",
    "euler_zyz_deg",
    "matrix_from_euler_zyz_deg",
    "rotation_from_quaternion",
    "rotation_from_vector",
    "rotation_x",
    "rotation_y",
    "rotation_z",
    "tilts_of_normal",
]

Matrices = NDArray[np.float64]


def rotation_x(angle_deg: ArrayLike) -> Matrices:
    """Rotation about x, ``(..., 3, 3)`` for angles ``(...)``: ``y' = y cos - z sin``."""
    return _plane_rotation(angle_deg, 1, 2)


def rotation_y(angle_deg: ArrayLike) -> Matrices:
    """Rotation about y, ``(..., 3, 3)`` for angles ``(...)``: ``x' = x cos + z sin``."""
    return _plane_rotation(angle_deg, 2, 0)


def rotation_z(angle_deg: ArrayLike) -> Matrices:
    """Rotation about z, ``(..., 3, 3)`` for angles ``(...)``: ``x' = x cos - y sin``."""
    return _plane_rotation(angle_deg, 0, 1)


def _plane_rotation(angle_deg: ArrayLike, first: int, second: int) -> Matrices:
    """Rotate axis ``first`` towards axis ``second``."""
    angle = np.deg2rad(np.asarray(angle_deg, dtype=np.float64))
    matrices = np.zeros((*angle.shape, 3, 3))
    matrices[..., range(3), range(3)] = 1.0
    matrices[..., first, first] = matrices[..., second, second] = np.cos(angle)
    matrices[..., second, first] = np.sin(angle)
    matrices[..., first, second] = -np.sin(angle)
    return matrices


def matrix_from_euler_zyz_deg(rot_deg: ArrayLike, tilt_deg: ArrayLike, psi_deg: ArrayLike) -> Matrices:
    """Rotation from reference to tomogram, ``(..., 3, 3)``, from RELION's rot, tilt, psi.

    They are the intrinsic ZYZ angles of the transposed matrix (conventions.md, "Orientation").
    """
    intrinsic = rotation_z(rot_deg) @ rotation_y(tilt_deg) @ rotation_z(psi_deg)
    return np.swapaxes(intrinsic, -1, -2)


def euler_zxz_deg(matrices: ArrayLike) -> NDArray[np.float64]:
    """``(first, tilt, last)`` in degrees, ``(..., 3)``, of ``Rz(last) Rx(tilt) Rz(first)``.

    At tilt 0 and 180, where only the sum or difference of first and last is defined, first is 0.
    """
    m = np.asarray(matrices, dtype=np.float64)
    # m33 = cos tilt, (m13, m23) = sin tilt (sin last, -cos last),
    # (m31, m32) = sin tilt (sin first, cos first).
    sine = np.hypot(m[..., 0, 2], m[..., 1, 2])
    pole = sine < 1e-9
    last = np.where(pole, np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(m[..., 0, 2], -m[..., 1, 2]))
    first = np.where(pole, 0.0, np.arctan2(m[..., 2, 0], m[..., 2, 1]))
    return np.rad2deg(np.stack([first, np.arctan2(sine, m[..., 2, 2]), last], axis=-1))


def euler_zyz_deg(matrices: ArrayLike) -> NDArray[np.float64]:
    """RELION's (rot, tilt, psi) in degrees, ``(..., 3)``, of rotations from reference to tomogram.

    At tilt 0 and 180, where only the sum or difference of rot and psi is defined, psi is 0.
    """
    m = np.swapaxes(np.asarray(matrices, dtype=np.float64), -1, -2)
    tilt = np.arctan2(np.hypot(m[..., 0, 2], m[..., 1, 2]), m[..., 2, 2])
    pole = np.hypot(m[..., 0, 2], m[..., 1, 2]) < 1e-9
    # At both poles Rz(rot) Ry(tilt) has m01 = -sin(rot) and m11 = cos(rot).
    rot = np.where(pole, np.arctan2(-m[..., 0, 1], m[..., 1, 1]), np.arctan2(m[..., 1, 2], m[..., 0, 2]))
    psi = np.where(pole, 0.0, np.arctan2(m[..., 2, 1], -m[..., 2, 0]))
    return np.rad2deg(np.stack([rot, tilt, psi], axis=-1))


def rotation_from_quaternion(x: ArrayLike, y: ArrayLike, z: ArrayLike, w: ArrayLike) -> Matrices:
    """Rotations ``(..., 3, 3)`` of unit quaternions ``w + xi + yj + zk``, each part ``(...)``."""
    x, y, z, w = (np.asarray(part, dtype=np.float64) for part in (x, y, z, w))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rotation_from_vector(vectors: NDArray[np.float64]) -> Matrices:
    """Rotation about a vector by its length in radians, ``(..., 3, 3)`` for vectors ``(..., 3)``."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = np.zeros((*vectors.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -vectors[..., 2], vectors[..., 1], -vectors[..., 0]
    cross -= np.swapaxes(cross, -1, -2)
    # sinc is exact at 0; (1 - cos a) / a^2 = sinc^2(a / 2) / 2.
    return (
        np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(0.5 * angle / np.pi) ** 2 * (cross @ cross)
    )


def tilts_of_normal(normal_xyz: ArrayLike) -> tuple[float, float]:
    """Tilts in degrees about x and y, ``(x, y)``, of a plane by its unit normal ``(3,)``.

    The normal is the third column of ``Ry(y) Rx(x)``: ``(sin y cos x, -sin x, cos y cos x)``.
    """
    x, y, z = np.asarray(normal_xyz, dtype=np.float64)
    return float(np.rad2deg(-np.arcsin(y))), float(np.rad2deg(np.arctan2(x, z)))
