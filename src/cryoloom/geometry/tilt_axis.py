"""The tilt axis in the image, and coordinates along and across it.

The specimen's y axis is the tilt axis; ``axis_deg`` runs from the image's +y, counter-clockwise. After
alignment the axis is y and columns ``u`` are across it: a specimen point projects to
``u = x cos(tilt) + z sin(tilt) / cos(x_tilt)`` on the row given by its height.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "across_axis",
    "along_axis",
    "axis_lies_along_x",
    "column_slopes",
    "field_across_and_along",
    "image_from_aligned",
    "row_slopes",
    "slopes_of_slab",
]

Array = NDArray[np.float64]


def across_axis(axis_deg: ArrayLike) -> Array:
    """Image direction across the axis, ``(..., 2)`` as xy: the projection of the specimen's +x at tilt 0."""
    axis = np.deg2rad(np.asarray(axis_deg, dtype=np.float64))
    return np.stack([np.cos(axis), np.sin(axis)], axis=-1)


def along_axis(axis_deg: ArrayLike) -> Array:
    """Image direction along the axis, ``(..., 2)`` as xy: the projection of the specimen's +y."""
    axis = np.deg2rad(np.asarray(axis_deg, dtype=np.float64))
    return np.stack([-np.sin(axis), np.cos(axis)], axis=-1)


def axis_lies_along_x(axis_deg: float) -> bool:
    """Whether the axis is nearer to the image's x than to its y; aligned images then exchange their sides."""
    x, y = np.abs(along_axis(axis_deg))
    return bool(x > y)


def field_across_and_along(axis_deg: float, field_x: float, field_y: float) -> tuple[float, float]:
    """Extents across and along the axis of an image of the given sides, in their unit."""
    sine, cosine = np.abs(along_axis(axis_deg))
    return float(cosine * field_x + sine * field_y), float(sine * field_x + cosine * field_y)


def image_from_aligned(
    axis_deg: float, tilt_deg: float = 0.0, x_tilt_deg: float = 0.0, magnification: float = 1.0
) -> Array:
    """Image direction of aligned columns (u) and rows (v), ``(2, 2)``: (x, y) from (u, v)."""
    tilt, x_tilt = np.deg2rad(tilt_deg), np.deg2rad(x_tilt_deg)
    turn = magnification * np.stack([across_axis(axis_deg), along_axis(axis_deg)], axis=1)
    shear = np.array([[1.0, np.sin(x_tilt) * np.sin(tilt)], [0.0, np.cos(x_tilt)]])
    return np.asarray(turn @ shear)


def column_slopes(tilt_deg: ArrayLike, x_tilt_deg: ArrayLike = 0.0) -> tuple[Array, Array]:
    """Change of the aligned column per step along the specimen's x, and along its z: ``(...)``."""
    tilt = np.deg2rad(np.asarray(tilt_deg, dtype=np.float64))
    x_tilt = np.deg2rad(np.asarray(x_tilt_deg, dtype=np.float64))
    return np.cos(tilt), np.sin(tilt) / np.cos(x_tilt)


def slopes_of_slab(tilt_rad: ArrayLike) -> tuple[Array, Array]:
    """`column_slopes` in the frame of a slab that itself is inclined; tilts in radians from its plane."""
    return np.cos(tilt_rad), np.sin(tilt_rad)


def row_slopes(x_tilt_deg: ArrayLike) -> Array:
    """Change of the aligned row per step along the specimen's z, ``(...)``: ``v = y - z tan(x_tilt)``."""
    return np.asarray(-np.tan(np.deg2rad(np.asarray(x_tilt_deg, dtype=np.float64))))
