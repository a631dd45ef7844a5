"""Which depth an image shows: the beam coordinate of a plane of the specimen, over the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["depth_behind", "plane_depth"]


def plane_depth(matrix: ArrayLike, z_angstrom: float = 0.0) -> tuple[float, float, float]:
    """``(at_origin, per_x, per_y)``: a plane z of the specimen has ``w = at_origin + per_x X + per_y Y``.

    matrix : (3, 3) from specimen to image frame. X, Y in angstrom from where the image shows the specimen's
    origin, that is from the image's centre plus the pose's shift. For an axis of 0 it is ``-X tan(tilt)``.
    """
    m = np.asarray(matrix, dtype=np.float64)
    # (X, Y) = m[:2, :2] (x, y) + m[:2, 2] z, solved for the plane's (x, y).
    per_x, per_y = m[2, :2] @ np.linalg.inv(m[:2, :2])
    at_origin = z_angstrom * (m[2, 2] - per_x * m[0, 2] - per_y * m[1, 2])
    return float(at_origin), float(per_x), float(per_y)


def depth_behind(
    tilt_deg: float, x_tilt_deg: float, column: ArrayLike, row: float, z: float
) -> NDArray[np.float64]:
    """Beam coordinate w of what lies at height ``z`` behind aligned columns ``(n,)`` and a row, ``(n,)``.

    All lengths in one unit, from the centres. With ``u = x cos t + z sin t / cos a`` and ``v = y - z tan a``
    (tilt t, x-tilt a) and the projection's third row: ``w = -u tan t + v cos t sin a + z / (cos t cos a)``.
    """
    tilt, x_tilt = np.deg2rad(tilt_deg), np.deg2rad(x_tilt_deg)
    across = row * np.cos(tilt) * np.sin(x_tilt) + z / (np.cos(tilt) * np.cos(x_tilt))
    return np.asarray(across - np.asarray(column, dtype=np.float64) * np.tan(tilt))
