"""The beam's path through a tilted slab, and what a tilt does to the width and the weight of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["compression", "sines_between", "slab_path", "slab_path_slope", "tilt_of_compression"]

Array = NDArray[np.float64]


def slab_path(tilt_rad: ArrayLike) -> Array:
    """Path through a slab over its thickness, ``1 / cos(tilt)``, same shape."""
    return np.asarray(1 / np.cos(tilt_rad), dtype=np.float64)


def slab_path_slope(tilt_rad: ArrayLike) -> Array:
    """Relative change of the path by the tilt, ``d ln(1 / cos(tilt)) / d tilt = tan(tilt)``, same shape."""
    return np.asarray(np.tan(tilt_rad), dtype=np.float64)


def compression(tilt_deg: ArrayLike, into_tilt_deg: ArrayLike) -> Array:
    """Width across the axis of a flat specimen at one tilt over another: ``cos(tilt) / cos(into)``.

    Angles of one shape, or one for all.
    """
    return np.asarray(np.cos(np.deg2rad(tilt_deg)) / np.cos(np.deg2rad(into_tilt_deg)), dtype=np.float64)


def tilt_of_compression(ratio: ArrayLike, into_tilt_deg: float) -> Array:
    """Tilt from 0 to 180 degrees with a `compression` into another; the nearest where none has it."""
    cosine = np.asarray(ratio, dtype=np.float64) * np.cos(np.deg2rad(into_tilt_deg))
    return np.asarray(np.rad2deg(np.arccos(np.clip(cosine, -1, 1))), dtype=np.float64)


def sines_between(tilt_deg: ArrayLike) -> Array:
    """``|sin(t_i - t_j)|`` of all pairs, ``(n, n)``: how fast central slices part with the frequency."""
    tilt = np.deg2rad(np.asarray(tilt_deg, dtype=np.float64))
    return np.asarray(np.abs(np.sin(tilt[:, None] - tilt[None, :])), dtype=np.float64)
