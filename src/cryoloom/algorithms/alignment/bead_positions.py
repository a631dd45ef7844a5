"""Positions of the gold beads of an aligned series: in the specimen, and to sub-pixels in each image.

The matched-filter maps of all images are back-projected onto a coarse grid of the specimen; a bead is a place
with a peak in nearly all images that contain it. So a particle that resembles a bead in one image is not
selected, and a bead is known in the images where it is weak.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.correlate import refine_parabola
from cryoloom.algorithms.images.undistorted_images import undistorted
from cryoloom.algorithms.series.bead_maps import BeadMaps, bead_maps, measure_bead_diameter
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.geometry.tilt_axis import field_across_and_along
from cryoloom.kernels.projection.sum_on_grid import sum_on_grid
from cryoloom.model import Pose

__all__ = ["BeadPositions", "beads_of_poses", "locate_beads"]

Array = NDArray[np.float64]

GRID_DIAMETERS = 0.3
"""Chosen: step of the grid, less than the half width of a peak, so that none is stepped over."""
HALF_HEIGHT_ANGSTROM = 2500.0  # chosen: of the grid; usual specimens are up to half as thick
#: Chosen: width of the grid over the zero tilt's field; at high tilt a wider range of the specimen is
#: visible.
WIDTH_FIELDS = 1.4
#: Noise has a mean of 0.4 and, over 40 views, a deviation of 0.1; particles reach 2.
LEAST_MEAN_SIGNIFICANCE = 2.5
SEEN_SIGNIFICANCE = 2.0  # chosen: of a bead in one view, what particles reach in the mean of all
LEAST_SEEN = 0.6
"""Fraction of the views that contain a bead in which it must be visible."""
LARGEST_SIGNIFICANCE = 15.0
"""Largest height that counts, so that no view dominates the others."""
LEAST_VIEWS = 5  # chosen: views that contain a place of the grid, or it is not scored
MOST_SHARED = 0.5
"""Chosen: of the views in which a point has the peak of a stronger one; beyond, it is its ghost."""
NEAR_DIAMETERS = 0.15  # chosen: from the prediction; the centre of a bead that touches lies a diameter away
LEAST_OF_TYPICAL = 0.35
"""Chosen: height over the median of the twelve highest (a third, as for rescued beads)."""


@dataclass(frozen=True, slots=True)
class BeadPositions:
    """``points_xyz_angstrom`` ``(n, 3)``; ``seen_xy_angstrom`` ``(n_views, n, 2)`` from the image centre.

    If an image does not show a bead, or not nearby, the projection of its point is given. ``significance``
    ``(n,)`` is the mean height of the maps at the bead.
    """

    points_xyz_angstrom: Array
    seen_xy_angstrom: Array
    significance: Array


def beads_of_poses(
    images: TiltImages,
    poses: Sequence[Pose],
    usable: NDArray[np.bool_],
    diameter_angstrom: float | None = None,
) -> tuple[float, BeadPositions]:
    """Diameter of the beads, measured unless given, and their positions.

    images : one for each pose. If a pose has a local displacement, beads are located in the undistorted image
    and their positions are given in the original image.
    """
    warped = [pose.warp is not None for pose in poses]
    if any(warped):
        pixel = images.pixel_size_angstrom
        pairs = zip(images.images, poses, strict=True)
        straight = torch.stack([undistorted(image, pose.warp, pixel) for image, pose in pairs])
        images = replace(images, images=straight)
    geometry = geometry_of_poses(poses)
    least = int(np.argmin(np.where(usable, np.abs(geometry.tilt_deg), np.inf)))
    diameter = diameter_angstrom or measure_bead_diameter(images, least)
    beads = locate_beads(bead_maps(images, diameter), geometry, usable)
    if not any(warped) or len(beads.points_xyz_angstrom) == 0:
        return diameter, beads
    seen = [
        places if pose.warp is None else places + pose.warp.displacement(places)
        for places, pose in zip(beads.seen_xy_angstrom, poses, strict=True)
    ]
    return diameter, replace(beads, seen_xy_angstrom=np.stack(seen))


def locate_beads(maps: BeadMaps, geometry: SeriesGeometry, usable: NDArray[np.bool_]) -> BeadPositions:
    """Beads of an aligned series. ``usable`` ``(n_views,)``: views to search; positions are given for all."""
    points = _peaks_of_grid(maps, geometry, usable)
    significance = np.zeros(len(points))
    for _ in range(2):
        seen, heights = _measured(maps, geometry, points)
        points = _solved(seen, heights, geometry, usable, points)
        kept, significance = _holding(seen, heights, usable, 0.6 * maps.diameter_angstrom)
        points = points[kept]
    seen, heights = _measured(maps, geometry, points)
    predicted = geometry.project(points)
    # A neighbouring bead may have been mistaken for it; the solution then decides.
    near = np.linalg.norm(seen - predicted, axis=-1) < NEAR_DIAMETERS * maps.diameter_angstrom
    places = np.where((near & (heights > SEEN_SIGNIFICANCE))[..., None], seen, predicted)
    return BeadPositions(points, places, significance)


def _peaks_of_grid(maps: BeadMaps, geometry: SeriesGeometry, usable: NDArray[np.bool_]) -> Array:
    """Local maxima of the mean significance over the views, ``(n, 3)``."""
    step = GRID_DIAMETERS * maps.diameter_angstrom
    n_y, n_x = (int(n) for n in maps.maps.shape[1:])
    field_x, field_y = n_x * maps.pixel_size_angstrom, n_y * maps.pixel_size_angstrom
    across, along = field_across_and_along(geometry.mean_axis_deg, field_x, field_y)
    x = np.arange(-WIDTH_FIELDS * across / 2, WIDTH_FIELDS * across / 2, step)
    y = np.arange(-along / 2, along / 2, step)
    z = np.arange(-HALF_HEIGHT_ANGSTROM, HALF_HEIGHT_ANGSTROM, step)
    views = np.flatnonzero(usable)
    places = np.zeros((len(views), 2, 4))
    rows = geometry.matrices[views][:, :2]
    places[:, :, 0] = rows @ [x[0], y[0], z[0]] + geometry.shift_xy_angstrom[views]
    places[:, :, 1:] = step * rows
    places /= maps.pixel_size_angstrom
    places[:, :, 0] += [n_x // 2, n_y // 2]
    clipped = maps.maps[torch.from_numpy(views)].clamp(0.0, LARGEST_SIGNIFICANCE)
    total, count = sum_on_grid(clipped, torch.from_numpy(places), (len(z), len(y), len(x)), inset_px=0.0)
    enough = count >= min(LEAST_VIEWS, len(views))
    score = torch.where(enough, total / count.clamp(min=1), torch.zeros_like(total)).cpu().numpy()
    at = _local_maxima(score, LEAST_MEAN_SIGNIFICANCE)
    heights = score[tuple(at.T)]
    order = np.argsort(-heights)[:400]
    if len(order):
        typical = float(np.median(heights[order][: max(3, min(12, len(order)))]))
        order = order[heights[order] > LEAST_OF_TYPICAL * typical]
    at = at[order]
    return np.stack([x[at[:, 2]], y[at[:, 1]], z[at[:, 0]]], axis=1)


def _local_maxima(score: NDArray[np.float32], least: float) -> NDArray[np.int64]:
    """Places ``(n, 3)`` of more than ``least`` that none exceeds within two steps along each axis."""
    at = np.argwhere(score > least)
    last = np.array(score.shape) - 1
    for offset in itertools.product(range(-2, 3), repeat=3):
        beside = np.clip(at + offset, 0, last)
        at = at[score[tuple(beside.T)] <= score[tuple(at.T)]]
    return at


def _measured(maps: BeadMaps, geometry: SeriesGeometry, points: Array) -> tuple[Array, Array]:
    """Highest place near each point in each view, ``(n_views, n, 2)`` xy, and its height ``(n_views, n)``.

    The height is 0 where there is no peak within reach, NaN outside the image.
    """
    pixel = maps.pixel_size_angstrom
    reach = max(2, int(np.ceil(0.4 * maps.diameter_angstrom / pixel)))
    predicted = geometry.project(points)
    seen, heights = predicted.copy(), np.full(predicted.shape[:2], np.nan)
    n_y, n_x = (int(n) for n in maps.maps.shape[1:])
    centre = np.array([n_y // 2, n_x // 2])
    near, side = torch.arange(-reach, reach + 1, device=maps.maps.device), 2 * reach + 1
    for view in range(geometry.n_views):
        index = np.rint(predicted[view][:, ::-1] / pixel).astype(int) + centre
        fits = (index >= reach + 1).all(axis=1) & (index < np.array([n_y, n_x]) - reach - 1).all(axis=1)
        inside = np.flatnonzero(fits)
        if len(inside) == 0:
            continue
        row, column = torch.from_numpy(index[inside].T).to(near.device)
        cuts = maps.maps[view][row[:, None, None] + near[:, None], column[:, None, None] + near]
        height, flat = cuts.flatten(1).max(dim=1)
        i, j = flat // side, flat % side
        is_peak = ((torch.minimum(i, j) > 0) & (torch.maximum(i, j) < side - 1)).cpu().numpy()
        within = [
            (at + refine_parabola(cuts, i, j, axis=axis).double()).cpu().numpy()
            for axis, at in enumerate((i, j))
        ]
        found = index[inside] - reach - centre + np.stack(within, axis=1)
        heights[view, inside] = np.where(is_peak, height.double().cpu().numpy(), 0.0)
        seen[view, inside[is_peak]] = found[is_peak][:, ::-1] * pixel
    return seen, heights


def _solved(
    seen: Array, heights: Array, geometry: SeriesGeometry, usable: NDArray[np.bool_], points: Array
) -> Array:
    """Points by least squares from their image positions, with the heights as weights."""
    weights = np.where(usable[:, None] & (heights > SEEN_SIGNIFICANCE), heights, 0.0)
    rows = geometry.matrices[:, :2]
    normal = np.einsum("vn,vai,vaj->nij", weights, rows, rows)
    right = np.einsum("vn,vai,vna->ni", weights, rows, seen - geometry.shift_xy_angstrom[:, None])
    # A point visible in few views stays at its place on the grid.
    normal += 1e-3 * np.eye(3)
    return np.linalg.solve(normal, (right + 1e-3 * points)[..., None])[..., 0]


def _holding(
    seen: Array, heights: Array, usable: NDArray[np.bool_], apart_angstrom: float
) -> tuple[list[int], Array]:
    """Indices of points that are visible in most of their views, and their mean significance.

    A point whose peaks in most views are those of stronger points is a ghost of these.
    """
    in_field = usable[:, None] & np.isfinite(heights)
    shown = in_field & (np.nan_to_num(heights) > SEEN_SIGNIFICANCE)
    count = np.maximum(in_field.sum(axis=0), 1)
    part = shown.sum(axis=0) / count
    clipped = np.where(in_field, np.minimum(np.nan_to_num(heights), LARGEST_SIGNIFICANCE), 0.0)
    mean = clipped.sum(axis=0) / count
    kept: list[int] = []
    for k in np.argsort(-mean):
        if part[k] < LEAST_SEEN or in_field[:, k].sum() < min(LEAST_VIEWS, int(usable.sum())):
            continue
        mine = seen[shown[:, k]]
        same = np.linalg.norm(mine[:, kept] - mine[:, [k]], axis=-1) < apart_angstrom
        if same.any(axis=1).mean() <= MOST_SHARED:
            kept.append(int(k))
    return kept, mean[kept]
