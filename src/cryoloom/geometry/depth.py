"""Height along the beam, its effect on the defocus, and the height of a plane at a point of an image.

The only code that knows the sign of the handedness (conventions.md, "Defocus").
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["defocus_change", "depth_at_centre", "depth_behind", "opposite_hand", "plane_depth"]

Hand = TypeVar("Hand", int, float)


def defocus_change(depth_angstrom: ArrayLike, handedness: float) -> NDArray[np.float64]:
    """Defocus at a height ``w`` along the beam minus that at the origin, same shape, angstrom.

    handedness : +1 (the defocus decreases towards larger ``w``), -1 (it increases), or 0 if it is not known.
    """
    return -handedness * np.asarray(depth_angstrom, dtype=np.float64)


def opposite_hand(handedness: Hand) -> Hand:
    """The handedness of a microscope whose defocus changes the other way; 0, not known, stays 0."""
    return -handedness


def plane_depth(
    matrix: ArrayLike, z_angstrom: float = 0.0, slope_x: float = 0.0, slope_y: float = 0.0
) -> tuple[float, float, float]:
    """``(at_origin, per_x, per_y)``: a plane of the specimen has ``w = at_origin + per_x X + per_y Y``.

    matrix : (3, 3) from specimen to image frame. The plane is ``z = z_angstrom + slope_x x + slope_y y`` in
    the specimen. X, Y in angstrom from the projection of the specimen's origin, that is from the image's
    centre plus the pose's shift. For an axis of 0 and no slopes it is ``z / cos(tilt) - X tan(tilt)``.
    """
    # n . r = z with n = (-slope_x, -slope_y, 1) is m n . (X, Y, w) = z in the image's frame.
    n_x, n_y, n_w = np.asarray(matrix, dtype=np.float64) @ np.array([-slope_x, -slope_y, 1.0])
    return float(z_angstrom / n_w), float(-n_x / n_w), float(-n_y / n_w)


def depth_at_centre(
    matrix: ArrayLike,
    shift_xy_angstrom: tuple[float, float],
    magnification: float,
    plane: tuple[float, float, float],
) -> float:
    """Height along the beam, above the origin, of a plane of the specimen at the image's centre.

    matrix, shift, magnification : of the pose. plane : ``z, slope_x, slope_y`` as in `plane_depth`.
    """
    at_origin, per_x, per_y = plane_depth(matrix, *plane)
    x, y = np.array(shift_xy_angstrom) / magnification
    return float(at_origin - per_x * x - per_y * y)


def depth_behind(
    tilt_deg: float, x_tilt_deg: float, column: ArrayLike, row: float, z: float
) -> NDArray[np.float64]:
    """Beam coordinate w at height ``z`` for aligned columns ``(n,)`` and a row, ``(n,)``.

    All lengths in one unit, from the centres. With ``u = x cos t + z sin t / cos a`` and ``v = y - z tan a``
    (tilt t, x-tilt a) and the projection's third row: ``w = -u tan t + v cos t sin a + z / (cos t cos a)``.
    """
    tilt, x_tilt = np.deg2rad(tilt_deg), np.deg2rad(x_tilt_deg)
    across = row * np.cos(tilt) * np.sin(x_tilt) + z / (np.cos(tilt) * np.cos(x_tilt))
    return np.asarray(across - np.asarray(column, dtype=np.float64) * np.tan(tilt))
