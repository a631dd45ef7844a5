"""Patches of the specimen as fiducials: each view's patch against the reprojection of all other views.

A patch mixes all depths of the ice; compared with a compressed neighbour it is displaced by their parallax.
The projection of a reconstruction without that view contains the depth, and all other views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution, adjust_bundle
from cryoloom.algorithms.alignment.patch_correlation import LEAST_PROMINENCE, PatchCorrelator
from cryoloom.algorithms.alignment.projection_matching import follow_up
from cryoloom.algorithms.alignment.reprojections import reprojections
from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.geometry.tilt_axis import image_from_aligned

__all__ = ["PatchTracking", "patch_centres", "track_patches"]

Array = NDArray[np.float64]

#: Chosen: approximate number of patches, which bounds the time; in a larger field they are further apart.
MOST_PATCHES = 150


@dataclass(frozen=True, slots=True)
class PatchTracking:
    """Tracks of the patches and the solution made from them."""

    tracks: Tracks
    solution: BundleSolution


def patch_centres(tilt_images: TiltImages, axis_deg: float, spacing_angstrom: float) -> Array:
    """Grid of patch centres ``(n, 3)`` in the specimen plane z = 0 over the untilted field."""
    n_y, n_x = tilt_images.shape_yx
    half = np.array([n_x, n_y]) * tilt_images.pixel_size_angstrom / 2
    reach = float(np.hypot(*half))
    ticks = np.arange(-(reach // spacing_angstrom), reach // spacing_angstrom + 1) * spacing_angstrom
    x, y = (a.ravel() for a in np.meshgrid(ticks, ticks))
    image = np.column_stack([x, y]) @ image_from_aligned(axis_deg).T
    within = (np.abs(image) < half - 0.3 * spacing_angstrom).all(axis=1)
    return np.column_stack([x[within], y[within], np.zeros(within.sum())])


def track_patches(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    free: DegreesOfFreedom | None = None,
    *,
    plane: tuple[float, float, float] = (0.0, 0.0, 0.0),
    patch_angstrom: float = 700.0,
    spacing_angstrom: float = 250.0,
    n_rounds: int = 3,
) -> PatchTracking | None:
    """Track a grid of patches through the usable views; None if fewer than four can be tracked.

    start : shifts accurate to about a tenth of a patch, as from projection matching. plane : middle of the
    specimen, as `find_plane` gives it; patches begin on it.
    """
    n_y, n_x = tilt_images.shape_yx
    widest = tilt_images.pixel_size_angstrom * np.sqrt(n_y * n_x / MOST_PATCHES)
    points = patch_centres(tilt_images, start.mean_axis_deg, max(spacing_angstrom, widest))
    correlator = PatchCorrelator.of(tilt_images, patch_angstrom)
    points[:, 2] = plane[0] + points[:, :2] @ plane[1:]
    geometry, search = start, 0.12
    free = free or DegreesOfFreedom()
    solution = None
    for round_ in range(n_rounds):
        if len(points) < 4:
            return None
        reprojected = replace(correlator, images=reprojections(tilt_images, geometry, usable, plane))
        table, weight = _measured(correlator, reprojected, geometry, points, usable, search)
        tracks = Tracks.from_table(table, weight)
        if len(np.unique(tracks.view)) < 4:
            return None
        last = round_ == n_rounds - 1
        solution = adjust_bundle(tracks, geometry, free if last else free.of_first_rounds)
        geometry, search = solution.geometry, 0.08
        known = np.isfinite(solution.points_xyz_angstrom).all(axis=1)
        points = solution.points_xyz_angstrom[known]
    return None if solution is None else PatchTracking(tracks, solution)


def _measured(
    correlator: PatchCorrelator,
    reprojected: PatchCorrelator,
    geometry: SeriesGeometry,
    points: Array,
    usable: NDArray[np.bool_],
    search_fraction: float,
) -> tuple[Array, Array]:
    """Positions ``(n, n_views, 2)`` (NaN where not found) and weights ``(n, n_views)`` of all patches.

    search_fraction : of the patch's side.
    """
    predicted = geometry.project(points)
    moved = np.zeros((geometry.n_views, len(points), 2))
    weight = np.zeros(moved.shape[:2])
    limit = search_fraction * correlator.side * correlator.pixel_size_angstrom
    for view in np.flatnonzero(usable):
        where = np.flatnonzero(correlator.fits(predicted[view]))
        if len(where) == 0:
            continue
        centres = predicted[view, where]
        cuts = [c.cut(int(view), centres) for c in (reprojected, correlator)]
        shift, prominence = correlator.locate(cuts[0], cuts[1], limit)
        good = (prominence > LEAST_PROMINENCE) & (np.hypot(*shift.T) < limit - correlator.pixel_size_angstrom)
        moved[view, where[good]] = shift[good]
        weight[view, where[good]] = np.clip((prominence[good] - 3.0) / 4.0, 0.1, 1.0)
    moved[usable] = follow_up(moved[usable], weight[usable], geometry.tilt_deg[usable])
    table = np.where(weight[..., None] > 0, predicted + moved, np.nan)
    return table.transpose(1, 0, 2), weight.T
