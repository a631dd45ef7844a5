"""Conversion of slabs between the frame of a tomogram and the frame of its poses.

A tomogram can be aligned to the specimen (`position` of reconstruct, `apply` of estimate_slab); its frame is
then that of the applied slab. A decision is stored in the frame before, which later tomograms share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.geometry.rotations import rotation_x, rotation_y, tilts_of_normal
from cryoloom.model import Slab, TiltSeries

__all__ = ["slab_in_poses", "slab_in_tomogram"]

Array = NDArray[np.float64]


def slab_in_poses(drawn: dict[str, Any], series: TiltSeries | None) -> dict[str, Any]:
    """A slab drawn in a tomogram of this series, in the frame of the poses before any slab was applied."""
    offset, rotation = _applied(series)
    normal, place = _plane(drawn)
    return _limits(drawn, rotation @ normal, offset + rotation @ place)


def slab_in_tomogram(decided: dict[str, Any], series: TiltSeries | None) -> dict[str, Any]:
    """Inverse of `slab_in_poses`."""
    offset, rotation = _applied(series)
    normal, place = _plane(decided)
    return _limits(decided, rotation.T @ normal, rotation.T @ (place - offset))


def _applied(series: TiltSeries | None) -> tuple[Array, Array]:
    """Offset ``(3,)`` and rotation ``(3, 3)`` with ``r_poses = offset + rotation r_tomogram``."""
    slab = series.slab if series is not None else None
    if slab is None:
        slab = Slab()
    offset = np.array([0.0, 0.0, slab.z_offset_angstrom.applied or 0.0])
    tilt_x, tilt_y = slab.tilt_x_deg.applied or 0.0, slab.tilt_y_deg.applied or 0.0
    return offset, rotation_y(tilt_y) @ rotation_x(tilt_x)


def _plane(slab: dict[str, Any]) -> tuple[Array, Array]:
    """Normal of the middle plane and a point on it, both ``(3,)``."""
    turned = rotation_y(slab.get("tilt_y_deg", 0.0)) @ rotation_x(slab.get("tilt_x_deg", 0.0))
    return turned[:, 2], np.array([0.0, 0.0, slab["z_offset_angstrom"]])


def _limits(slab: dict[str, Any], normal: Array, place: Array) -> dict[str, Any]:
    """The slab with another plane."""
    tilt_x, tilt_y = tilts_of_normal(normal)
    return {
        "thickness_angstrom": slab["thickness_angstrom"],
        "z_offset_angstrom": round(float(normal @ place / normal[2]), 2),
        "tilt_x_deg": round(tilt_x, 4),
        "tilt_y_deg": round(tilt_y, 4),
    }
