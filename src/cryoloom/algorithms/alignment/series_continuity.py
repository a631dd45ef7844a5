"""Continuity of a series: every view, and both sides of every place, must show the same features.

Tracks can follow one object in one part of a series and another one in the next. Each part is then
consistent, so residuals, differences of halves of the tracks and errors of left-out tracks are small.
Therefore features of the specimen are searched again from the solution. Their mean in the views just below a
tilt is compared with the mean just above it; for scale, the means of every other view of both sides are
compared. If the specimen only turns, both agree nearly as well; if poses jump, one side shows something else.
Every single view is also compared with the mean of its neighbours.

Gold looks alike everywhere, so an exchanged bead is a feature that continues. Whole images reveal this: two
neighbouring ones are correlated over all shifts. If the poses are right, the highest peak lies at the shift
that they predict. If it lies at another shift and is far higher, parts of the series follow different beads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.coarse_alignment import prepared_for_correlation, squeeze_images
from cryoloom.algorithms.alignment.feature_tracking import BOX_ANGSTROM, find_features
from cryoloom.algorithms.images.correlate import Overlap, overlap_correlation
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.sample_images import cut_boxes
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response, shrink_images
from cryoloom.geometry.slab_path import compression
from cryoloom.geometry.tilt_axis import across_axis, along_axis

__all__ = ["Continuity", "SeriesContinuity", "posed_apart", "series_continuity"]

Array = NDArray[np.float64]

#: Chosen: views within this fraction of the tilt range on either side of a place are compared. With fewer
#: views features do not rise above the noise; views further away show other projections of them.
SIDE_PART = 0.1
#: Chosen: least number of views on a side, so that features rise above the noise.
LEAST_VIEWS = 3
#: Chosen: features that both sides show; the mean of fewer is uncertain.
LEAST_FEATURES = 10
#: Chosen: neighbouring views with which a single view is compared.
N_NEXT = 4
#: Chosen: features of a single view; with fewer it is not supported.
LEAST_IN_A_VIEW = 5
#: Chosen: least fraction of the typical agreement of a view with its neighbours: 0.5 at good series' ends.
LEAST_SUPPORT = 0.35
#: Chosen: standard deviations to which images are clipped; without it gold outweighs everything else.
LARGEST_DEVIATION = 4.0
LEAST_OF_TYPICAL, SURELY_BROKEN = 0.75, 0.4
"""A series is broken where the agreement across a place, over that among the views beside it, is below these.

The first is relative to the ratio at a typical place; a ratio below the second is low in every series.
Features as deep as virus shells, in many layers, change within a few degrees: with true poses of such a
series the ratio is 0.47 to 0.68 at every place; at jumps of others it is 0.2 to 0.4, and 0.8 to 0.9
elsewhere.
"""
CLEAR_FEATURES = 0.75
"""Chosen: agreement among views from which features are far above noise, so that a low ratio everywhere is
how fast they change. It is 0.8 to 0.9 on those shells, and 0.64 in a random session with poses 419 A off."""
#: Chosen: standard errors by which views must disagree to be doubted.
SURE_DEVIATIONS = 1.0
# Neighbouring images, correlated over all shifts.
#: Chosen: shorter side of the images; it bounds the time.
NEIGHBOUR_PIXELS = 96
#: Chosen: canvas over the field, so that every shift at which two images overlap has its own place.
NEIGHBOUR_CANVAS = 2
#: Chosen: how far a peak may lie from its place: poses may be a little off, and features as high as the
#: surfaces of thick ice (across the axis, by the sine of the difference of the tilts).
NEAR_ANGSTROM, HIGHEST_ANGSTROM = 60.0, 1500.0
#: Chosen: difference of the tilts beyond which two images are not compared, as features change too much.
MOST_APART_DEG = 12.0
#: Height of the peak where the poses say over that of the highest elsewhere, below which they are
#: contradicted, if the other is so many deviations high. On a series of gold with two blocks posed 260 and
#: 590 A off it is below 0.2 where they meet (peaks of 32 to 52 deviations) and 3.5 to 9 everywhere else.
CONTRADICTED, CERTAIN_PEAK = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class Continuity:
    """How well views on both sides of a place agree, where they agree least.

    tilt_deg : of that place. across, among : mean correlation (-1 to 1) of features between the two sides,
    and between interleaved views of both. error : of the difference of the two, one deviation.
    typical_ratio : median of ``across / among`` over all places of the series.
    """

    tilt_deg: float
    across: float
    among: float
    error: float
    typical_ratio: float = 1.0

    def is_broken(self, least_ratio: float) -> bool:
        """Whether ``across`` is surely less than that part of ``among``, and than usual in the series."""
        clear = self.among >= CLEAR_FEATURES
        usual = max(LEAST_OF_TYPICAL * self.typical_ratio, SURELY_BROKEN) if clear else 1.0
        return self.across + SURE_DEVIATIONS * self.error < min(least_ratio, usual) * self.among


@dataclass(frozen=True, slots=True)
class SeriesContinuity:
    """Evidence of features of the specimen on a solved series.

    least : agreement across the place where it is least; None if too few features can be compared.
    unsupported : ``(n_views,)``, views that do not show the features that the next views show.
    """

    least: Continuity | None
    unsupported: NDArray[np.bool_]


def series_continuity(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]
) -> SeriesContinuity:
    """Features searched again from a solution, compared from tilt to tilt."""
    points = find_features(tilt_images, geometry, usable)
    if len(points) < LEAST_FEATURES:
        return SeriesContinuity(None, np.zeros(len(usable), dtype=bool))
    cuts, seen = _cuts(tilt_images, geometry, points, usable)
    least = _least_agreement(cuts, seen, geometry.tilt_deg, usable)
    return SeriesContinuity(least, _unsupported(cuts, seen, geometry.tilt_deg, usable))


def posed_apart(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], bool]:
    """Views ``(n_views,)`` tied to no other one, and whether parts of the series are posed apart.

    Neighbours in tilt are tied unless their images contradict their poses; where they do, every second view
    is compared as well. A part is several views that are tied only to each other.
    """
    order = np.argsort(geometry.tilt_deg, kind="stable")
    order = order[usable[order]]
    pairs = _Neighbours.of(tilt_images, geometry)
    part = np.arange(len(order))
    broken = False
    for reach in (1, 2):
        if reach > 1 and not broken:
            break
        for first in range(len(order) - reach):
            second = first + reach
            if reach > 1 and part[first] == part[second]:
                continue
            if pairs.contradicted(int(order[first]), int(order[second])):
                broken = True
            else:
                part[part == part[second]] = part[first]
    alone = np.zeros(len(usable), dtype=bool)
    sizes = np.bincount(part, minlength=len(order))
    alone[order[sizes[part] == 1]] = len(order) > 1
    return alone, int((sizes > 1).sum()) > 1


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """Prepared images ``(n, y, x)``, their window, and what a shift on the canvas means."""

    images: torch.Tensor
    window: torch.Tensor
    geometry: SeriesGeometry
    pixel_size_angstrom: float
    canvas: tuple[int, int]
    across_angstrom: torch.Tensor
    along_angstrom: torch.Tensor
    """Length of every shift across and along the tilt axis, ``(y, x)``, not signed."""

    @classmethod
    def of(cls, tilt_images: TiltImages, geometry: SeriesGeometry) -> _Neighbours:
        small = shrink_images(tilt_images, NEIGHBOUR_PIXELS)
        images, window = prepared_for_correlation(small)
        n_y, n_x = small.shape_yx
        canvas = (good_fft_size(NEIGHBOUR_CANVAS * n_y), good_fft_size(NEIGHBOUR_CANVAS * n_x))
        y, x = (torch.fft.fftfreq(n, 1 / n, device=images.device) * small.pixel_size_angstrom for n in canvas)
        lengths = [
            (x[None, :] * float(to[0]) + y[:, None] * float(to[1])).abs()
            for to in (across_axis(geometry.mean_axis_deg), along_axis(geometry.mean_axis_deg))
        ]
        return cls(images, window, geometry, small.pixel_size_angstrom, canvas, lengths[0], lengths[1])

    def contradicted(self, first: int, second: int) -> bool:
        """Whether the two images agree far better at another shift than at that of their poses."""
        tilt, shift = self.geometry.tilt_deg, self.geometry.shift_xy_angstrom
        apart_deg = float(abs(tilt[first] - tilt[second]))
        if apart_deg > MOST_APART_DEG:
            return False
        # The canvas lies about the first image, whose shift becomes 0; the second is compressed to its tilt.
        across = across_axis(self.geometry.mean_axis_deg)
        ratio = float(compression(tilt[[second]], float(tilt[first]))[0])
        moved = shift[second] - shift[first] - (ratio - 1) * across * float(across @ shift[first])
        image, mass = squeeze_images(
            torch.stack([self.images[second], self.window]),
            tilt[[second, second]],
            np.repeat(moved[None, ::-1] / self.pixel_size_angstrom, 2, axis=0),
            self.geometry.mean_axis_deg,
            float(tilt[first]),
            self.canvas,
        )
        maps = overlap_correlation(
            Overlap(image, mass), Overlap(*map(self._on_canvas, (self.images[first], self.window)))
        )
        by_height = HIGHEST_ANGSTROM * np.sin(np.deg2rad(apart_deg))
        near = (self.along_angstrom <= NEAR_ANGSTROM) & (self.across_angstrom <= NEAR_ANGSTROM + by_height)
        there, elsewhere = float(maps[near].max()), float(maps[~near].max())
        return there < CONTRADICTED * elsewhere and elsewhere > CERTAIN_PEAK * float(maps.std())

    def _on_canvas(self, image: torch.Tensor) -> torch.Tensor:
        """With its centre at the canvas' centre, 0 around it."""
        before = [c // 2 - int(n) // 2 for c, n in zip(self.canvas, image.shape, strict=True)]
        after = [c - int(n) - b for c, n, b in zip(self.canvas, image.shape, before, strict=True)]
        return functional.pad(image, (before[1], after[1], before[0], after[0]))


def _least_agreement(
    cuts: torch.Tensor, seen: NDArray[np.bool_], tilt: Array, usable: NDArray[np.bool_]
) -> Continuity | None:
    """Over all places of a series; None if nothing shows."""
    order = np.argsort(tilt, kind="stable")
    order = order[usable[order]]
    reach = SIDE_PART * float(np.ptp(tilt[order]))
    found = []
    for place in 0.5 * (tilt[order][1:] + tilt[order][:-1]):
        below, above = order[tilt[order] < place], order[tilt[order] > place]
        n = min(len(below), len(above))
        if n < LEAST_VIEWS:
            continue
        below = below[-max(LEAST_VIEWS, int((place - tilt[below] < reach).sum())) :]
        above = above[: max(LEAST_VIEWS, int((tilt[above] - place < reach).sum()))]
        one = _agreement(cuts, seen, below, above)
        if one is not None:
            across, among, error = one
            found.append(Continuity(float(place), across, among, error))
    if not found:
        return None
    typical = float(np.median([one.across / one.among for one in found]))
    least = min(found, key=lambda one: (one.across + SURE_DEVIATIONS * one.error) / one.among)
    return replace(least, typical_ratio=typical)


def _unsupported(
    cuts: torch.Tensor, seen: NDArray[np.bool_], tilt: Array, usable: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Views that agree far less with the next ones than is typical, or share too few features with them."""
    views = np.flatnonzero(usable)
    agreement, error = np.full(len(tilt), -np.inf), np.zeros(len(tilt))
    for view in views:
        next_ones = views[np.argsort(np.abs(tilt[views] - tilt[view]), kind="stable")[1 : N_NEXT + 1]]
        common = seen[view] & (seen[next_ones].sum(axis=0) >= 2)
        if common.sum() >= LEAST_IN_A_VIEW:
            values = _correlation(cuts[view], cuts[next_ones].sum(dim=0))[common]
            agreement[view], error[view] = values.mean(), values.std() / np.sqrt(len(values))
    typical = float(np.median(agreement[views]))
    if typical < SURE_DEVIATIONS * 3 * float(np.median(error[views])):
        return np.zeros(len(tilt), dtype=bool)
    return usable & (agreement + SURE_DEVIATIONS * error < LEAST_SUPPORT * typical)


def _cuts(
    tilt_images: TiltImages, geometry: SeriesGeometry, points: Array, usable: NDArray[np.bool_]
) -> tuple[torch.Tensor, NDArray[np.bool_]]:
    """Band-passed boxes ``(view, point, y, x)`` about the points, 0 where not seen, and what is seen."""
    pixel = tilt_images.pixel_size_angstrom
    side = 2 * round(BOX_ANGSTROM / pixel / 2)
    places = geometry.project(points)
    limit = (np.array(tilt_images.shape_yx[::-1]) - side) * pixel / 2
    seen = (np.abs(places) < limit).all(axis=2) & usable[:, None]
    images = tilt_images.images.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION)
    cuts = torch.stack([cut_boxes(image, at / pixel, side) for image, at in zip(images, places, strict=True)])
    response = band_response((side, side), side / 2, 4.0, cuts.device)
    cuts = torch.fft.irfft2(torch.fft.rfft2(cuts) * response, s=(side, side))
    hann = torch.hann_window(side, periodic=False, device=cuts.device)
    cuts = cuts * torch.sqrt(hann[:, None] * hann[None, :])
    cuts = cuts - cuts.mean(dim=(-2, -1), keepdim=True)
    return cuts * torch.from_numpy(seen).to(cuts)[..., None, None], seen


def _agreement(
    cuts: torch.Tensor, seen: NDArray[np.bool_], below: NDArray[np.int64], above: NDArray[np.int64]
) -> tuple[float, float, float] | None:
    """Mean correlation of features across and among, and the error of the former; None if nothing shows."""
    both = np.concatenate([below, above])
    common = (seen[below].sum(axis=0) >= 2) & (seen[above].sum(axis=0) >= 2)
    if common.sum() < LEAST_FEATURES:
        return None
    across, among = (
        _correlation(cuts[first].sum(dim=0), cuts[second].sum(dim=0))[common]
        for first, second in ((below, above), (both[::2], both[1::2]))
    )
    error = float(across.std() / np.sqrt(len(across)))
    mean = float(among.mean())
    return (float(across.mean()), mean, error) if mean > SURE_DEVIATIONS * error else None


def _correlation(first: torch.Tensor, second: torch.Tensor) -> Array:
    """Normalised correlation of each pair of boxes ``(n, y, x)`` of zero mean, ``(n,)``."""
    norm = torch.sqrt((first**2).sum(dim=(1, 2)) * (second**2).sum(dim=(1, 2))) + 1e-12
    return np.asarray(((first * second).sum(dim=(1, 2)) / norm).double().cpu().numpy())
