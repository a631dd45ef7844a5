"""Derivatives of projected positions by the angles of the projection.

With ``v = Ry(tilt) Rx(x_tilt) r`` a position is ``[Rz(axis) Rx(beam_tilt) v]_xy``. A rotation's derivative by
its angle turns by a further 90 degrees: that of ``v_x`` by the tilt is ``v_z``, that of ``v_z`` is ``-v_x``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AngleDerivatives", "angle_derivatives", "derivative_by_axis"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AngleDerivatives:
    """Derivatives of image positions, ``(n, 2)`` as xy in the points' unit per radian."""

    by_tilt: Array
    by_x_tilt: Array
    by_beam_tilt: Array


def derivative_by_axis(positions_xy: Array) -> Array:
    """Derivative of positions ``(n, 2)``, counted from the pose's shift, by the axis angle: per radian."""
    return np.column_stack([-positions_xy[:, 1], positions_xy[:, 0]])


def angle_derivatives(
    points_xyz: Array,
    axis_deg: ArrayLike,
    tilt_deg: ArrayLike,
    x_tilt_deg: ArrayLike,
    beam_tilt_deg: ArrayLike = 0.0,
) -> AngleDerivatives:
    """For points ``(n, 3)``, each with the angles ``(n,)`` of its own tilt (or one for all), in degrees.

    beam_tilt_deg : a turn about the image's x after the tilt, of a beam that is not at right angles to the
    tilt axis.
    """
    axis, tilt, x_tilt, beam_tilt = (
        np.deg2rad(np.broadcast_to(np.asarray(angle, dtype=np.float64), len(points_xyz)))
        for angle in (axis_deg, tilt_deg, x_tilt_deg, beam_tilt_deg)
    )
    x, y, z = points_xyz.T
    cos_axis, sin_axis = np.cos(axis), np.sin(axis)
    # After Rx: b; after Ry: v.
    b_y = y * np.cos(x_tilt) - z * np.sin(x_tilt)
    b_z = y * np.sin(x_tilt) + z * np.cos(x_tilt)
    v_x = x * np.cos(tilt) + b_z * np.sin(tilt)
    v_z = -x * np.sin(tilt) + b_z * np.cos(tilt)

    def in_image(x: Array, y: Array, z: Array) -> Array:
        """A change of v as it appears in the image: turned by the beam tilt about x, then by the axis."""
        y = y * np.cos(beam_tilt) - z * np.sin(beam_tilt)
        return np.column_stack([cos_axis * x - sin_axis * y, sin_axis * x + cos_axis * y])

    none = np.zeros(len(points_xyz))
    return AngleDerivatives(
        by_tilt=in_image(v_z, none, -v_x),
        by_x_tilt=in_image(b_y * np.sin(tilt), -b_z, b_y * np.cos(tilt)),
        by_beam_tilt=in_image(none, -v_z, b_y),  # d/db of (y cos - z sin) is the turned (-z, y)
    )
