"""Compact features of the specimen (particles, vesicle walls, contamination) as fiducials at their own depth.

A patch mixes all depths of the ice; a compact dense feature is one point in space. Features are the maxima of
a coarse back-projection of the images about a first solution; each is then located in every view against its
mean over the other views. That mean does not depend on neighbours alone, so an error of the axis that all
neighbours share is visible in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.images.correlate import cross_correlation, find_peaks
from cryoloom.algorithms.images.sample_images import cut_boxes
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_pass, band_response
from cryoloom.geometry.tilt_axis import across_axis, along_axis
from cryoloom.kernels.projection.sum_on_grid import sum_on_grid

__all__ = ["FeatureTracking", "error_of_halves", "find_features", "track_features"]

LEAST_SEEN = 0.6
"""Chosen: part of the usable images that must show a grid point for it to be scored."""

Array = NDArray[np.float64]

BAND_ANGSTROM = (450.0, 130.0)  # chosen: features of the size of a large complex have contrast in it
SEPARATION_ANGSTROM = 220.0  # chosen: half the coarsest detail of the band
#: Chosen: border of the images that is not used, as a fraction of the shorter side.
INSET = 0.015
#: Chosen: height of the grid on either side of the mean of the first solution's points, as in
#: `reprojections`.
DEPTH_ANGSTROM = 900.0
GRID_ANGSTROM = 36.0  # chosen: less than a third of the finest detail of the band
LEAST_SIGNIFICANCE = 5.5  # of a maximum of the back-projection; chance maxima reach about 5
MOST_FEATURES = 150  # chosen: the highest maxima; bounds the time
BOX_ANGSTROM = 320.0  # chosen: side of the compared region, a large complex and its surroundings
LEAST_IN_A_HALF = 8  # chosen: for poses from each half alone
LEAST_PROMINENCE = 3.5  # chosen: of a correlation peak over its map's deviation
# Chosen: search radius (fraction of the box) of each round, and angular width of the mean in degrees.
ROUNDS = ((0.25, np.inf), (0.2, np.inf), (0.15, 40.0), (0.15, 25.0))


@dataclass(frozen=True, slots=True)
class FeatureTracking:
    """Tracks of the features and the solution made from them."""

    tracks: Tracks
    solution: BundleSolution
    start: SeriesGeometry
    found_xyz_angstrom: Array
    """Where the features were found about ``start``, ``(n, 3)``, before they were followed."""


def track_features(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom | None = None,
) -> FeatureTracking | None:
    """Find compact features, track them and solve the geometry; None if fewer than four are found.

    start : geometry accurate to about 50 A, with z = 0 in the middle of the specimen.
    """
    return _followed(tilt_images, start, find_features(tilt_images, start, usable), usable, free)


def error_of_halves(
    tilt_images: TiltImages,
    found: FeatureTracking,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom | None = None,
) -> Array | None:
    """Error of the poses ``(n_views,)`` in angstrom from two halves of the features, each followed by itself.

    Half of the distance of the two solutions. Unlike halves of the final tracks, they do not share what was
    drawn off in the rounds before. None if there are too few features.
    """
    halves = [found.found_xyz_angstrom[first::2] for first in range(2)]
    if min(map(len, halves)) < LEAST_IN_A_HALF:
        return None
    first, second = (_followed(tilt_images, found.start, half, usable, free) for half in halves)
    if first is None or second is None:
        return None
    counts = [one.solution.view_residuals_angstrom(one.tracks)[1] for one in (first, second)]
    points = found.solution.points_xyz_angstrom
    known = np.minimum(*counts) > 0
    return 0.5 * pose_distances(first.solution.geometry, second.solution.geometry, points, known)


def _followed(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    found: Array,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom | None,
) -> FeatureTracking | None:
    """Features found about a geometry, located and solved in rounds; None if fewer than four are left."""
    geometry, points = start, found
    free = free or DegreesOfFreedom()
    result = None
    for round_, (search, width_deg) in enumerate(ROUNDS):
        if len(points) < 4:
            return None
        table, weight = _located(tilt_images, geometry, points, usable, search, width_deg)
        tracks = Tracks.from_table(table, weight)
        last = round_ == len(ROUNDS) - 1
        solution = adjust_bundle(tracks, geometry, free if last else free.of_first_rounds)
        result = FeatureTracking(tracks, solution, start, found)
        geometry, points = solution.geometry, solution.points_xyz_angstrom
        points = points[np.isfinite(points).all(axis=1)]
    return result


def find_features(tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]) -> Array:
    """Strongest maxima ``(n, 3)`` of a back-projection of dark blobs, at least a separation apart."""
    pixel = tilt_images.pixel_size_angstrom
    maps = -band_pass(tilt_images.images, BAND_ANGSTROM[0] / pixel, BAND_ANGSTROM[1] / pixel)
    maps = maps / (maps.flatten(1).std(dim=1)[:, None, None] + 1e-12)
    maps = maps.clamp(-4, 4)  # a feature must be present in most views, not dominate one
    grid = _grid(tilt_images, geometry.mean_axis_deg)
    views = np.flatnonzero(usable)
    n_y, n_x = tilt_images.shape_yx
    first = grid[0, 0, 0]
    steps = np.stack([grid[0, 0, 1], grid[0, 1, 0], grid[1, 0, 0]]) - first  # along x, y and z of the grid
    rows = geometry.matrices[views, :2]
    places = np.concatenate(
        [(rows @ first + geometry.shift_xy_angstrom[views])[..., None], rows @ steps.T], axis=-1
    )
    places /= pixel
    places[:, :, 0] += [n_x // 2, n_y // 2]
    total, count = sum_on_grid(
        maps[torch.from_numpy(views)],
        torch.from_numpy(places),
        grid.shape[:3],
        inset_px=INSET * min(n_y, n_x),
    )
    score = torch.where(count > LEAST_SEEN * len(views), total / torch.sqrt(count + 1e-9), -torch.inf)
    reach = max(1, round(SEPARATION_ANGSTROM / GRID_ANGSTROM / 2))
    deep = 2 * reach  # the missing wedge elongates a point along the beam
    sides = (2 * deep + 1, 2 * reach + 1, 2 * reach + 1)
    highest = functional.max_pool3d(score[None, None], sides, stride=1, padding=(deep, reach, reach))[0, 0]
    index = torch.nonzero(((score == highest) & (score > LEAST_SIGNIFICANCE)).flatten())[:, 0]
    order = torch.argsort(score.flatten()[index], descending=True)[:MOST_FEATURES]
    return np.asarray(grid.reshape(-1, 3)[index[order].cpu().numpy()], dtype=np.float64)


def _grid(tilt_images: TiltImages, axis_deg: float) -> Array:
    """Points ``(z, y, x, 3)`` over the untilted field and the depth searched, rows along the image's."""
    n_y, n_x = tilt_images.shape_yx
    pixel = tilt_images.pixel_size_angstrom
    reach = (DEPTH_ANGSTROM, n_y * pixel / 2, n_x * pixel / 2)
    z, v, u = np.meshgrid(*(np.arange(-r, r + 1, GRID_ANGSTROM) for r in reach), indexing="ij")
    across, along = across_axis(axis_deg), along_axis(axis_deg)
    x, y = u * across[0] + v * across[1], v * along[1] + u * along[0]
    return np.stack([x, y, z], axis=-1)


def _located(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    points: Array,
    usable: NDArray[np.bool_],
    search_fraction: float,
    width_deg: float,
) -> tuple[Array, Array]:
    """Every feature in every view about its prediction: table ``(n, n_views, 2)`` and weights."""
    pixel = tilt_images.pixel_size_angstrom
    side = 2 * round(BOX_ANGSTROM / pixel / 2)
    predicted = geometry.project(points)
    limit = (np.array(tilt_images.shape_yx[::-1]) / 2 - side / 2) * pixel
    seen = (np.abs(predicted) < limit).all(axis=2) & usable[:, None]
    cuts = torch.stack(
        [
            cut_boxes(image, places / tilt_images.pixel_size_angstrom, side)
            for image, places in zip(tilt_images.images, predicted, strict=True)
        ]
    )
    hann = torch.hann_window(side, periodic=False, device=cuts.device)
    cuts -= cuts.mean(dim=(-2, -1), keepdim=True)
    cuts *= torch.sqrt(hann[:, None] * hann[None, :]) * torch.from_numpy(seen).to(cuts)[..., None, None]
    response = band_response((side, side), side / 2, 4.0, cuts.device)
    distance = geometry.tilt_deg[:, None] - geometry.tilt_deg[None, :]
    share = np.exp(-0.5 * (distance / width_deg) ** 2)
    np.fill_diagonal(share, 0.0)  # otherwise noise would correlate with itself
    table = np.full((len(points), geometry.n_views, 2), np.nan)
    weight = np.zeros(table.shape[:2])
    for view in np.flatnonzero(usable):
        reference = torch.einsum("v,vnyx->nyx", torch.from_numpy(share[view]).to(cuts), cuts)
        peaks = find_peaks(
            cross_correlation(reference, cuts[view], response), search_fraction * BOX_ANGSTROM / pixel
        )
        shift = peaks.shifts_yx_px.flip(-1).double().cpu().numpy() * pixel
        prominence = peaks.prominence.double().cpu().numpy()
        inner = np.hypot(*shift.T) < search_fraction * BOX_ANGSTROM - pixel
        good = seen[view] & (prominence > LEAST_PROMINENCE) & inner
        table[good, view] = predicted[view][good] + shift[good]
        weight[good, view] = np.clip((prominence[good] - 3.0) / 4.0, 0.1, 1.0)
    return table, weight
