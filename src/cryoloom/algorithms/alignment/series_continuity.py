"""Whether a series is one: the same features of the specimen in every view and on both sides of every place.

Tracks that are compared with what the same poses made of the images can follow one thing in one part of a
series and another in the next: each part is consistent, so residuals, halves of the tracks and left-out
tracks are small. Features of the specimen, sought anew about the solution, tell: their mean in the views just
below a tilt is compared with that just above it, and for scale the means of every other view of both sides.
Where the specimen only turns, the two agree nearly as well; where poses jump, one side shows something else.
And every single view is compared with the mean of those next to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.feature_tracking import BOX_ANGSTROM, find_features
from cryoloom.algorithms.images.sample_images import cut_boxes
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response

__all__ = ["Continuity", "SeriesContinuity", "series_continuity"]

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
#: Least fraction of the typical agreement of a view with its neighbours: 0.5 at the ends of good series.
LEAST_SUPPORT = 0.35
#: Chosen: standard deviations to which images are clipped; without it gold outweighs everything else.
LARGEST_DEVIATION = 4.0
#: Chosen: standard errors by which views must disagree to be doubted.
SURE_DEVIATIONS = 1.0


@dataclass(frozen=True, slots=True)
class Continuity:
    """How well views on both sides of a place agree, where they agree least.

    tilt_deg : of that place. across, among : mean correlation (-1 to 1) of features between the two sides,
    and between interleaved views of both. error : of the difference of the two, one deviation.
    """

    tilt_deg: float
    across: float
    among: float
    error: float

    def is_broken(self, least_ratio: float) -> bool:
        """Whether ``across`` is surely less than that part of ``among``."""
        return self.across + SURE_DEVIATIONS * self.error < least_ratio * self.among


@dataclass(frozen=True, slots=True)
class SeriesContinuity:
    """What features of the specimen say of a solved series.

    least : agreement across the place where it is least; None if too few features tell anything.
    unsupported : ``(n_views,)``, views that do not show the features that the next views show.
    """

    least: Continuity | None
    unsupported: NDArray[np.bool_]


def series_continuity(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]
) -> SeriesContinuity:
    """Features sought anew about a solution, compared from tilt to tilt."""
    points = find_features(tilt_images, geometry, usable)
    if len(points) < LEAST_FEATURES:
        return SeriesContinuity(None, np.zeros(len(usable), dtype=bool))
    cuts, seen = _cuts(tilt_images, geometry, points, usable)
    least = _least_agreement(cuts, seen, geometry.tilt_deg, usable)
    return SeriesContinuity(least, _unsupported(cuts, seen, geometry.tilt_deg, usable))


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
    return min(found, key=lambda one: (one.across + SURE_DEVIATIONS * one.error) / one.among, default=None)


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
