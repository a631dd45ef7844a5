"""What IMOD's transforms and local alignments do to an image besides a pose, as displacements of the image.

An ``.xf`` line's stretch and skew move points of the aligned image linearly. A local alignment (as
``flib/tilt/tilt.f90`` applies it) says for each area of the specimen how it is projected: with the view's
tilt and x-tilt plus the area's changes, z-factors times height, and then through the area's transform about
the middle of the aligned image; between the centres of areas the four nearest are mixed in proportion,
beyond the outermost they go on as they are. Here the specimen's plane z = 0 is projected so, brought to the
raw image, and compared with the pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.formats.imod.local_alignment import LocalAlignment
from cryoloom.formats.imod.transforms import half_pixel_xy
from cryoloom.model import ImageWarp, Pose

__all__ = ["ImodWarps", "warps_of_imod"]

Array = NDArray[np.float64]

_SAMPLES = 25
"""Along x and y of the image: areas are seldom closer than a tenth of the field."""
_MOST_CONTROLS = 10
_LEAST_DISPLACEMENT_PX = 0.02
"""Chosen: control points along an axis, finer than usual areas; a smaller displacement is not a warp."""


@dataclass(frozen=True, slots=True)
class ImodWarps:
    """A warp for each view, or None, and how far in pixels they are from what IMOD does."""

    warps: tuple[ImageWarp | None, ...]
    largest_px: float
    """Largest displacement."""
    misfit_px: float
    """Rms on the plane z = 0."""
    misfit_at_height_px: float
    """The same at the given height, above and below it."""


def warps_of_imod(
    transforms: Array,
    local: LocalAlignment | None,
    poses: Sequence[Pose],
    pixel_size_angstrom: float,
    shape_yx: tuple[int, int],
    *,
    height_angstrom: float = 0.0,
) -> ImodWarps:
    """Displacements that transforms ``(n, 2, 3)`` and areas make, for poses that give the rest.

    height_angstrom : of the points whose misfit is given as well.
    """
    extent = (shape_yx[1] * pixel_size_angstrom, shape_yx[0] * pixel_size_angstrom)
    warps: list[ImageWarp | None] = []
    largest, misses, misses_at_height = 0.0, [0.0], [0.0]
    for view, pose in enumerate(poses):
        seen, reprojected = _positions(view, 0.0, transforms, local, pose, pixel_size_angstrom, shape_yx)
        moved = seen - reprojected
        size_px = float(np.hypot(*moved.T).max()) / pixel_size_angstrom
        if size_px < _LEAST_DISPLACEMENT_PX:
            warps.append(None)
            continue
        n_controls = 2 if local is None else min(_MOST_CONTROLS, 2 * max(local.n_areas_xy) + 4)
        warp = ImageWarp.fitted(reprojected, moved, extent, n_controls)
        largest = max(largest, size_px)
        misses.append(float(np.mean((warp.displacement(reprojected) - moved) ** 2)) * 2)
        for height in (-height_angstrom, height_angstrom):
            seen, reprojected = _positions(
                view, height, transforms, local, pose, pixel_size_angstrom, shape_yx
            )
            missed = reprojected + warp.displacement(reprojected) - seen
            misses_at_height.append(float(np.mean(missed**2)) * 2)
        warps.append(warp)
    scale = 1.0 / pixel_size_angstrom
    return ImodWarps(
        tuple(warps),
        largest,
        float(np.sqrt(np.mean(misses))) * scale,
        float(np.sqrt(np.mean(misses_at_height))) * scale,
    )


def _positions(
    view: int,
    z_angstrom: float,
    transforms: Array,
    local: LocalAlignment | None,
    pose: Pose,
    pixel_size_angstrom: float,
    shape_yx: tuple[int, int],
) -> tuple[Array, Array]:
    """Projections of points of a plane by IMOD and by the pose alone, ``(n, 2)`` each in angstrom.

    The points are those that the pose projects onto a grid over the image.
    """
    along = [np.linspace(-0.5, 0.5, _SAMPLES) * n * pixel_size_angstrom for n in shape_yx[::-1]]
    reprojected = np.stack(np.meshgrid(*along), axis=-1).reshape(-1, 2)
    rows = pose.magnification * pose.matrix[:2]
    in_plane = reprojected - np.array(pose.shift_xy_angstrom) - rows[:, 2] * z_angstrom
    points = np.column_stack([in_plane @ np.linalg.inv(rows[:, :2]).T, np.full(len(reprojected), z_angstrom)])
    if local is None:
        aligned = points @ Pose(0.0, pose.tilt_deg, pose.x_tilt_deg).matrix[:2].T / pixel_size_angstrom
    else:
        aligned = _locally_projected(points, view, local, pose, pixel_size_angstrom, shape_yx)
    matrix, displacement = transforms[view, :, :2], transforms[view, :, 2]
    raw = np.linalg.solve(matrix, (aligned - displacement).T).T - half_pixel_xy(shape_yx)
    return raw * pixel_size_angstrom, reprojected


def _locally_projected(
    points: Array,
    view: int,
    local: LocalAlignment,
    pose: Pose,
    pixel_size_angstrom: float,
    shape_yx: tuple[int, int],
) -> Array:
    """Pixels ``(n, 2)`` from the middle of the aligned image."""
    scale = local.pixel_size_angstrom / pixel_size_angstrom if local.pixel_size_angstrom > 0 else 1.0
    middle = np.array(shape_yx[::-1]) / 2
    weights = _area_weights(points[:, :2] / pixel_size_angstrom + middle, local, scale)
    aligned = np.zeros((len(points), 2))
    for area in range(len(local.tilt_change_deg)):
        tilt = pose.tilt_deg + local.tilt_change_deg[area, view]
        x_change = 0.0 if local.x_tilt_change_deg is None else local.x_tilt_change_deg[area, view]
        seen = points @ Pose(0.0, tilt, pose.x_tilt_deg + x_change).matrix[:2].T
        if local.z_factors is not None:
            seen = seen + points[:, 2:] * local.z_factors[area, view]
        matrix = local.transforms[area, view, :, :2]
        moved = seen / pixel_size_angstrom @ matrix.T + scale * local.transforms[area, view, :, 2]
        aligned += weights[:, area, None] * moved
    return aligned


def _area_weights(place_px: Array, local: LocalAlignment, scale: float) -> Array:
    """Part of each area at places ``(n, 2)`` counted from the corner, ``(n, areas)``: bilinear, clamped."""
    along = []
    for axis, n in enumerate(local.n_areas_xy):
        first, spacing = scale * local.first_centre_xy_px[axis], scale * local.spacing_xy_px[axis]
        step = np.clip((place_px[:, axis] - first) / max(spacing, 1e-9), 0.0, n - 1.0)
        along.append(np.maximum(0.0, 1.0 - np.abs(step[:, None] - np.arange(n))))
    return np.einsum("nx,ny->nyx", along[0], along[1]).reshape(len(place_px), -1)
