"""Patches of the specimen as fiducials: followed from view to view, then measured again about the solution.

A patch is compared with a few neighbouring views squeezed across the tilt axis into its own (cosine
stretching) and averaged, each cut where that very patch was found. The first pass goes outwards from the
least tilted view; later passes compare with neighbours on both sides at the positions the bundle
adjustment predicts, which takes out the drift of a chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.bundle_adjustment import BundleSolution, Freedom, Tracks, adjust_bundle
from cryoloom.algorithms.correlate import Peaks, cross_correlation, find_peaks
from cryoloom.algorithms.series_geometry import SeriesGeometry
from cryoloom.algorithms.tilt_images import TiltImages, band_response

__all__ = ["PatchTracking", "patch_centres", "track_patches"]

Array = NDArray[np.float64]

CHAIN_REFERENCES = 4
LEAST_PROMINENCE = 3.5  # of a correlation peak over its map's deviation


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
    axis = np.deg2rad(axis_deg)
    image = np.column_stack([x * np.cos(axis) - y * np.sin(axis), x * np.sin(axis) + y * np.cos(axis)])
    within = (np.abs(image) < half - 0.3 * spacing_angstrom).all(axis=1)
    return np.column_stack([x[within], y[within], np.zeros(within.sum())])


def track_patches(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    freedom: Freedom | None = None,
    *,
    patch_angstrom: float = 700.0,
    spacing_angstrom: float = 250.0,
    n_rounds: int = 4,
) -> PatchTracking:
    """Track a grid of patches through the usable views and solve the geometry."""
    points = patch_centres(tilt_images, start.mean_axis_deg, spacing_angstrom)
    correlator = _Correlator.of(tilt_images, patch_angstrom)
    table, weight = _chain(correlator, start, points, usable)
    tracks = Tracks.from_table(table, weight)
    # A chain's drift bends the axis (by 0.6 deg) and later passes undo it slowly: it waits for the last.
    held = Freedom(axis="fixed")
    solution = adjust_bundle(tracks, start, held)
    for round_ in range(n_rounds):
        table, weight = _remeasured(correlator, solution, usable, reach=(4, 5, 6, 6)[min(round_, 3)])
        tracks = Tracks.from_table(table, weight)
        last = round_ == n_rounds - 1
        solution = adjust_bundle(tracks, solution.geometry, freedom if last else held)
    return PatchTracking(tracks, solution)


@dataclass(frozen=True, slots=True)
class _Correlator:
    """Working images and what every correlation of patches shares."""

    images: torch.Tensor
    pixel_size_angstrom: float
    side: int
    window: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(cls, tilt_images: TiltImages, patch_angstrom: float) -> _Correlator:
        side = 2 * round(patch_angstrom / tilt_images.pixel_size_angstrom / 2)
        shape = (int(tilt_images.images.shape[1]), int(tilt_images.images.shape[2]))
        side = min(side, 2 * (min(shape) // 4))
        hann = torch.hann_window(side, periodic=False, device=tilt_images.images.device)
        window = torch.sqrt(hann[:, None] * hann[None, :])
        response = band_response((side, side), side / 2, 4.0).to(window)
        return cls(tilt_images.images, tilt_images.pixel_size_angstrom, side, window, response)

    def fits(self, centres_xy_angstrom: Array) -> NDArray[np.bool_]:
        """Which patches lie in the image, up to an eighth of their width."""
        n_y, n_x = int(self.images.shape[1]), int(self.images.shape[2])
        limit = (np.array([n_x, n_y]) / 2 - 0.375 * self.side) * self.pixel_size_angstrom
        return np.asarray((np.abs(centres_xy_angstrom) <= limit).all(axis=1))

    def cut(self, view: int, centres_xy_angstrom: Array, matrix: Array) -> torch.Tensor:
        """Patches ``(n, side, side)``: the value at u is the image's at ``centre + matrix u``."""
        n_y, n_x = int(self.images.shape[1]), int(self.images.shape[2])
        ticks = np.arange(self.side) - self.side // 2
        u = np.stack(np.meshgrid(ticks, ticks), axis=-1) @ matrix.T
        at = centres_xy_angstrom[:, None, None] / self.pixel_size_angstrom + u + [n_x // 2, n_y // 2]
        grid = torch.from_numpy((2 * at + 1) / [n_x, n_y] - 1).to(self.images)
        # One tall grid over the one image instead of a copy of the image per patch.
        tall = grid.reshape(1, -1, self.side, 2)
        cut = functional.grid_sample(
            self.images[None, view : view + 1],
            tall,
            mode="bilinear",
            padding_mode="reflection",
            align_corners=False,
        )
        return cut.reshape(-1, self.side, self.side)

    def locate(
        self, references: torch.Tensor, moving: torch.Tensor, max_shift_angstrom: float
    ) -> tuple[Array, Array]:
        """Shifts ``(n, 2)`` as xy in angstrom of ``moving`` against ``references``, and prominences."""
        flat = [(p - p.mean(dim=(-2, -1), keepdim=True)) * self.window for p in (references, moving)]
        maps = cross_correlation(flat[0], flat[1], self.response)
        peaks: Peaks = find_peaks(maps, max_shift_angstrom / self.pixel_size_angstrom)
        shift = peaks.shifts_yx_px.flip(-1).double().cpu().numpy() * self.pixel_size_angstrom
        return shift, peaks.prominence.double().cpu().numpy()


def _squeeze(geometry: SeriesGeometry, source: int, target: int) -> Array:
    """Matrix that takes offsets in the target view to those in the source view for a flat specimen."""
    rows = geometry.matrices[:, :2, :2]
    return np.asarray(rows[source] @ np.linalg.inv(rows[target]))


def _chain(
    correlator: _Correlator, geometry: SeriesGeometry, points: Array, usable: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """First pass, outwards: table ``(n_points, n_views, 2)`` of positions and its weights."""
    n_views = geometry.n_views
    predicted = geometry.project(points)
    table = np.full((len(points), n_views, 2), np.nan)
    weight = np.zeros((len(points), n_views))
    least = int(np.argmin(np.where(usable, np.abs(geometry.tilt_deg), np.inf)))
    inside = correlator.fits(predicted[least])
    table[inside, least], weight[inside, least] = predicted[least, inside], 1.0
    order = np.argsort(np.abs(geometry.tilt_deg - geometry.tilt_deg[least]), kind="stable")
    placed = [least]
    for view in (int(i) for i in order if usable[i] and i != least):
        near = sorted(placed, key=lambda j: abs(geometry.tilt_deg[view] - geometry.tilt_deg[j]))
        offset = np.nan_to_num(np.nanmedian(table[:, near[0]] - predicted[near[0]], axis=0))
        centres = predicted[view] + offset
        table[:, view], weight[:, view] = _measured(
            correlator, geometry, view, near[:CHAIN_REFERENCES], table, centres, 0.25
        )
        placed.append(view)
    return table, weight


def _remeasured(
    correlator: _Correlator, solution: BundleSolution, usable: NDArray[np.bool_], reach: int
) -> tuple[Array, Array]:
    """Every patch again in every view, against neighbours on both sides at their predicted positions."""
    geometry, points = solution.geometry, solution.points_xyz_angstrom
    known = np.asarray(np.isfinite(points).all(axis=1))
    predicted = geometry.project(np.nan_to_num(points)).transpose(1, 0, 2).copy()
    predicted[~known] = np.nan
    table = np.full(predicted.shape, np.nan)
    weight = np.zeros(predicted.shape[:2])
    index = np.flatnonzero(usable)
    for rank, view in enumerate(index):
        near = [int(i) for i in index[max(0, rank - reach) : rank + reach + 1] if i != view]
        centres = np.where(known[:, None], predicted[:, view], np.inf)
        table[:, view], weight[:, view] = _measured(
            correlator, geometry, int(view), near, predicted, centres, 0.12
        )
    return table, weight


def _measured(
    correlator: _Correlator,
    geometry: SeriesGeometry,
    view: int,
    near: list[int],
    positions: Array,
    centres: Array,
    search_fraction: float,
) -> tuple[Array, Array]:
    """Positions ``(n, 2)`` (NaN where not found) and weights ``(n,)`` of all patches in one view.

    near : views to compare with. positions : (n, n_views, 2) of the patches there. centres : (n, 2) where to
    look. search_fraction : of the patch's side.
    """
    found, weight = np.full(centres.shape, np.nan), np.zeros(len(centres))
    n, side = len(centres), correlator.side
    reference = torch.zeros((n, side, side), dtype=torch.float32, device=correlator.images.device)
    mass = np.zeros(n)
    here = correlator.fits(centres)
    for source in near:
        usable = here & np.isfinite(positions[:, source]).all(axis=1)
        usable[usable] = correlator.fits(positions[usable, source])
        if not usable.any():
            continue
        share = 0.85 ** abs(float(geometry.tilt_deg[source] - geometry.tilt_deg[view]) / 3.0)
        cut = correlator.cut(source, positions[usable, source], _squeeze(geometry, source, view))
        reference[torch.from_numpy(np.flatnonzero(usable))] += share * cut
        mass[usable] += share
    where = np.flatnonzero(here & (mass > 0.3))
    if len(where) == 0:
        return found, weight
    moving = correlator.cut(view, centres[where], np.eye(2))
    limit = search_fraction * side * correlator.pixel_size_angstrom
    shift, prominence = correlator.locate(reference[torch.from_numpy(where)], moving, limit)
    good = (prominence > LEAST_PROMINENCE) & (np.hypot(*shift.T) < limit - correlator.pixel_size_angstrom)
    found[where[good]] = centres[where[good]] + shift[good]
    weight[where[good]] = np.clip((prominence[good] - 3.0) / 4.0, 0.1, 1.0)
    return found, weight
