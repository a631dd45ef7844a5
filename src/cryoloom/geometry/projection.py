"""Projection of points of the specimen onto a tilt image, and back.

``image = shift + [Rz(axis) Ry(tilt) Rx(x_tilt) r]_xy``: RELION 5's model. ``axis`` is the tilt-axis rotation
from the image's +y, counter-clockwise; all rotations are right-handed. Positions and shifts are in
angstrom from the centre of the volume and of the image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.rotations import rotation_x, rotation_y, rotation_z

__all__ = ["angles_of_projection", "beam_coordinate", "project", "projection_matrices"]


def projection_matrices(
    axis_deg: ArrayLike, tilt_deg: ArrayLike, x_tilt_deg: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Rotations from specimen to image frame, ``(..., 3, 3)``: rows are image x, image y and the beam.

    The angles broadcast against each other.
    """
    axis, tilt, x_tilt = np.broadcast_arrays(axis_deg, tilt_deg, x_tilt_deg)
    return rotation_z(axis) @ rotation_y(tilt) @ rotation_x(x_tilt)


def angles_of_projection(
    matrices: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Axis, tilt and x-tilt in degrees, ``(...)`` each; inverse of `projection_matrices`.

    matrices : rotations ``(..., 3, 3)``. Tilts come out between -90 and 90 degrees.
    """
    m = np.asarray(matrices, dtype=np.float64)
    # Rz(axis) Ry(tilt) Rx(x_tilt): the last row is (-sin t, cos t sin x, cos t cos x).
    tilt = np.arctan2(-m[..., 2, 0], np.hypot(m[..., 2, 1], m[..., 2, 2]))
    axis, x_tilt = np.arctan2(m[..., 1, 0], m[..., 0, 0]), np.arctan2(m[..., 2, 1], m[..., 2, 2])
    return np.rad2deg(axis), np.rad2deg(tilt), np.rad2deg(x_tilt)


def project(
    positions_xyz_angstrom: ArrayLike, matrices: ArrayLike, shifts_xy_angstrom: ArrayLike
) -> NDArray[np.float64]:
    """Image positions ``(n_tilts, n_points, 2)`` as xy in angstrom.

    positions_xyz_angstrom : (n_points, 3). matrices : (n_tilts, 3, 3). shifts_xy_angstrom : (n_tilts, 2).
    """
    points = np.asarray(positions_xyz_angstrom, dtype=np.float64)
    rows = np.asarray(matrices, dtype=np.float64)[:, :2]
    shifts = np.asarray(shifts_xy_angstrom, dtype=np.float64)
    return np.einsum("tij,nj->tni", rows, points) + shifts[:, None]


def beam_coordinate(positions_xyz_angstrom: ArrayLike, matrices: ArrayLike) -> NDArray[np.float64]:
    """Height along the beam, ``(n_tilts, n_points)`` in angstrom: ``w = -x sin(tilt) + z cos(tilt)``.

    With handedness +1 the defocus of a point is the image's minus ``w``, with -1 plus ``w``.
    """
    points = np.asarray(positions_xyz_angstrom, dtype=np.float64)
    beam = np.asarray(matrices, dtype=np.float64)[:, 2]
    return np.einsum("tj,nj->tn", beam, points)
