"""A plane of any direction through a volume, from its 8-bit levels, as in 3dmod's Slicer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cryoloom.errors import UserInputError
from cryoloom.geometry.rotations import rotation_x, rotation_y
from cryoloom.web.pictures.levels import Levels, Range, eight_bit
from cryoloom.web.pictures.slices import Slice, jpeg_of

__all__ = ["ObliqueRequest", "oblique_axes", "render_oblique"]

_MOST_PX = 1024
"""Chosen: side of the largest picture on a page."""
#: Chosen: samples of one picture, about 0.3 s; enough for 512 x 512 pixels and a slab of 20.
_MOST_SAMPLES = 6_000_000


@dataclass(frozen=True, slots=True)
class ObliqueRequest:
    """A plane through a position, in voxels of level 0, where voxel i spans i to i + 1."""

    centre_xyz: tuple[float, float, float]
    tilt_x_deg: float
    tilt_y_deg: float
    width: int
    height: int
    """Size in pixels of the answer."""
    voxels_per_px: float
    n_sections: int = 1
    """Number of planes, a voxel apart, that are averaged."""
    shown: Range | None = None


def oblique_axes(tilt_x_deg: float, tilt_y_deg: float) -> NDArray[np.float64]:
    """Ry(tilt_y) Rx(tilt_x), ``(3, 3)``; columns are right, up and out of the plane, as xyz."""
    return rotation_y(tilt_y_deg) @ rotation_x(tilt_x_deg)


def render_oblique(levels: Levels, request: ObliqueRequest) -> Slice:
    """The plane as a JPEG, upper row first; black outside the volume.

    Raises UserInputError for a picture that is too large.
    """
    if not (8 <= request.width <= _MOST_PX and 8 <= request.height <= _MOST_PX):
        raise UserInputError(
            f"a plane of {request.width} x {request.height} pixels was asked for; expected 8 to {_MOST_PX}"
        )
    level = int(np.clip(np.floor(np.log2(max(request.voxels_per_px, 1.0)) + 0.25), 0, len(levels.arrays) - 1))
    stored = levels.arrays[level]
    if stored is None:
        raise UserInputError("this image has no 8-bit copy to be cut; only volumes can be")
    scale = 2.0**level
    n_planes = max(
        1, min(round(request.n_sections / scale), _MOST_SAMPLES // (request.width * request.height))
    )
    right, up, out = oblique_axes(request.tilt_x_deg, request.tilt_y_deg).T
    u = (np.arange(request.width) + 0.5 - request.width / 2) * request.voxels_per_px
    v = (np.arange(request.height) + 0.5 - request.height / 2) * request.voxels_per_px
    plane = (
        np.array(request.centre_xyz)
        + v[:, None, None] * up[None, None, :]
        + u[None, :, None] * right[None, None, :]
    )
    total = np.zeros((request.height, request.width), dtype=np.float32)
    for offset in (np.arange(n_planes) - (n_planes - 1) / 2) * scale:
        at = (plane + offset * out) / scale - 0.5  # index i of a level spans i to i + 1 of this level
        total += map_coordinates(
            stored, np.moveaxis(at[..., ::-1], -1, 0), output=np.float32, order=1, mode="constant", cval=0.0
        )
    low, high = levels.range_of(0)
    values = low + total * np.float32((high - low) / 255.0 / n_planes)
    shown = request.shown or (low, high)
    return Slice(jpeg_of(eight_bit(values, shown), 85), *shown)
