"""The same images described from another origin or with the specimen turned: poses and CTFs follow.

Where positions become ``r = offset + R r'``, a pose's matrix M becomes M R, whose angles are a pose's again,
and its shift grows by M offset. The defocus, which a CTF tells at the origin, changes by the new origin's
height.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cryoloom.geometry.projection import angles_of_projection
from cryoloom.model import Ctf, Pose, Tilt, TiltSeries

__all__ = ["pose_from_frame", "series_from_frame", "series_in_slab"]


def pose_from_frame(pose: Pose, offset_xyz_angstrom: ArrayLike, rotation: ArrayLike | None = None) -> Pose:
    """Pose for positions ``r'`` where ``r = offset + rotation r'`` are the old ones.

    offset_xyz_angstrom : (3,). rotation : (3, 3), none by default.
    """
    offset = np.asarray(offset_xyz_angstrom, dtype=np.float64)
    matrix = pose.matrix
    x, y = np.array(pose.shift_xy_angstrom) + pose.magnification * (matrix @ offset)[:2]
    moved = replace(pose, shift_xy_angstrom=(float(x), float(y)))
    if rotation is None:
        return moved
    axis, tilt, x_tilt = angles_of_projection(matrix @ np.asarray(rotation, dtype=np.float64))
    return replace(moved, axis_deg=float(axis), tilt_deg=float(tilt), x_tilt_deg=float(x_tilt))


def series_from_frame(
    series: TiltSeries, offset_xyz_angstrom: ArrayLike, rotation: ArrayLike | None = None
) -> TiltSeries:
    """Series for positions ``r'`` where ``r = offset + rotation r'``; arguments as in `pose_from_frame`.

    Without a known handedness the defocus stays as it is: by which sign it changes is not known.
    """
    offset = np.asarray(offset_xyz_angstrom, dtype=np.float64)
    changes: dict[int, dict[str, Any]] = {}
    for tilt in series.tilts:
        if tilt.pose is not None:
            changes[tilt.acquisition_index] = {
                "pose": pose_from_frame(tilt.pose, offset, rotation),
                "ctf": _ctf_at(tilt, offset, series.handedness.applied),
            }
    return series.with_tilts(changes)


def series_in_slab(series: TiltSeries) -> TiltSeries:
    """Series with its measured slab lying flat about z = 0; as it is where that is so or none is known."""
    slab = series.slab
    if slab is None or slab.is_applied:
        return series
    turned = series_from_frame(series, slab.offset_xyz_angstrom, slab.rotation)
    applied = {
        name: replace(value, applied=value.measured)
        for name in ("thickness_angstrom", "z_offset_angstrom", "tilt_x_deg", "tilt_y_deg")
        if (value := getattr(slab, name)) is not None
    }
    return replace(turned, slab=replace(slab, **applied))


def _ctf_at(tilt: Tilt, offset: NDArray[np.float64], handedness: float | None) -> Ctf | None:
    if tilt.ctf is None or tilt.pose is None or handedness is None:
        return tilt.ctf
    deeper = -handedness * float((tilt.pose.matrix @ offset)[2])
    return replace(
        tilt.ctf,
        defocus_u_angstrom=tilt.ctf.defocus_u_angstrom + deeper,
        defocus_v_angstrom=tilt.ctf.defocus_v_angstrom + deeper,
    )
