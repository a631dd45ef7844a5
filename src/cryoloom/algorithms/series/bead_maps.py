"""Positions of gold beads in an image: its correlation with the shadow of a sphere, and the maxima."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from cryoloom.algorithms.images.correlate import refine_parabola
from cryoloom.algorithms.images.single_thread_pool import each_image, of_each
from cryoloom.algorithms.series.tilt_images import TiltImages

__all__ = [
    "LEAST_SIGNIFICANCE",
    "BeadMaps",
    "bead_candidates",
    "bead_maps",
    "measure_bead_diameter",
    "positions_of_maxima",
]

Array = NDArray[np.float64]

LEAST_SIGNIFICANCE = 6.0
"""Chosen: of a candidate, over the map's spread."""
_TRIED_ANGSTROM, _LEAST_DIAMETER_PX = np.geomspace(50.0, 300.0, 12), 2.5
"""Chosen: diameters of gold beads in use, 5 to 20 nm and somewhat more; smaller shadows are single pixels."""
# Crowded gold: it fills so much of a small field that the spread of the map is that of the beads themselves.
#: Chosen: maxima whose median height is that of a bead.
_STRONGEST = 12
#: Chosen: height of a bead over the typical one: gold differs by less than two.
_BEAD_HEIGHT = 0.55
#: Chosen: in diameters; beyond it the response to a bead, which ends at 1.5, is a few percent.
_BEAD_REACH = 1.25
#: Chosen: area of all discs of that radius, over that of the image, from which the beads' own response can be
#: most of the map.
_LEAST_FILLED = 0.5
#: Chosen: part of the image that must be free of beads to measure the spread of the rest.
_LEAST_FREE = 0.05
#: Chosen: a field is crowded if the spread without the beads is less than this part of that with them, and a
#: bead stands out by so many spreads. Where gold covers a fifth of the field these are 0.3 to 0.45 and 10;
#: in noise (675 drawn images) not below 0.43 and not above 6.1. Other fields are left as they are.
_CROWDED, _STANDS_OUT = 0.5, 8.0


@dataclass(frozen=True, slots=True)
class BeadMaps:
    """Matched-filter maps ``(tilt, y, x)`` in units of their spread, high where a bead's centre is.

    The spread is that of the map outside beads where they may fill much of an image (`bead_maps`).
    """

    maps: torch.Tensor
    pixel_size_angstrom: float
    diameter_angstrom: float


def bead_maps(tilt_images: TiltImages, diameter_angstrom: float, *, may_be_crowded: bool = False) -> BeadMaps:
    """Correlate each image with the shadow of a sphere minus its surroundings.

    may_be_crowded : beads may fill much of the images. Set it only for an alignment, which judges tracks by
    their fit: a field full of dense particles looks similar and reaches the heights expected of gold.
    """
    images = tilt_images.images
    template = _sphere_template(diameter_angstrom / tilt_images.pixel_size_angstrom, tilt_images.shape_yx)
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(template)).conj().to(images.device)
    maps = torch.empty_like(images)

    def correlate(i: int) -> None:
        one = torch.fft.irfft2(torch.fft.rfft2(images[i]) * spectrum, s=tilt_images.shape_yx)
        spread = 1.4826 * float(one.abs().median())
        if may_be_crowded:
            spread = _between_beads(one, diameter_angstrom / tilt_images.pixel_size_angstrom, spread)
        maps[i] = one / (spread + 1e-12)

    for _ in each_image(correlate, len(images)):
        pass
    return BeadMaps(maps, tilt_images.pixel_size_angstrom, diameter_angstrom)


def _between_beads(one: torch.Tensor, diameter_px: float, every: float) -> float:
    """Robust deviation of a map ``(y, x)`` outside beads, if these are many and stand out; else of all."""
    row, column = _maxima(one, diameter_px)
    height = one[row, column]
    if len(height) < _STRONGEST:
        return every
    typical = float(height.topk(_STRONGEST).values.median())
    is_bead = height > _BEAD_HEIGHT * typical
    reach = _BEAD_REACH * diameter_px
    if int(is_bead.sum()) * np.pi * reach**2 < _LEAST_FILLED * one.numel():
        return every
    apart = np.ones(one.shape, dtype=bool)
    apart[row[is_bead].cpu().numpy(), column[is_bead].cpu().numpy()] = False
    free = torch.from_numpy(distance_transform_edt(apart) > reach).to(one.device)
    if float(free.float().mean()) < _LEAST_FREE:
        return every
    rest = 1.4826 * float(one[free].abs().median())
    return rest if rest < min(_CROWDED * every, typical / _STANDS_OUT) else every


def _maxima(image: torch.Tensor, diameter_px: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of the local maxima of a map ``(y, x)``, borders included."""
    side = 2 * max(1, round(0.4 * diameter_px)) + 1
    # Along one axis and then the other, which is the same and far less work.
    highest = functional.max_pool2d(image[None, None], (1, side), stride=1, padding=(0, side // 2))
    highest = functional.max_pool2d(highest, (side, 1), stride=1, padding=(side // 2, 0))[0, 0]
    row, column = torch.nonzero(image == highest, as_tuple=True)
    return row, column


def _sphere_template(diameter_px: float, shape_yx: tuple[int, int]) -> torch.Tensor:
    """Dark shadow of a sphere with a bright ring around it, zero sum, unit norm, centred at ``n // 2``."""
    y = torch.arange(shape_yx[0])[:, None] - shape_yx[0] // 2
    x = torch.arange(shape_yx[1])[None, :] - shape_yx[1] // 2
    r = torch.hypot(y.float(), x.float()) / (diameter_px / 2)
    # Half a pixel of softness: beads are seen through the images' low pass.
    inside = torch.sqrt((1 - r**2).clamp(min=0)) + 0.15 * torch.exp(-((r - 1) ** 2) / 0.05)
    ring = torch.exp(-((r - 1.6) ** 2) / 0.08)
    template = ring / ring.sum() - inside / inside.sum()
    return template / template.norm()


def measure_bead_diameter(tilt_images: TiltImages, view: int, *, may_be_crowded: bool = False) -> float:
    """Diameter in angstrom whose shadow stands out most in one image: mean of the ten highest peaks."""
    pixel = tilt_images.pixel_size_angstrom
    one = replace(tilt_images, images=tilt_images.images[view : view + 1])
    candidates = [d for d in _TRIED_ANGSTROM if d >= _LEAST_DIAMETER_PX * pixel]

    def score(diameter: float) -> float:
        heights = bead_candidates(
            bead_maps(one, diameter, may_be_crowded=may_be_crowded), 0, LEAST_SIGNIFICANCE
        )[1]
        return float(np.sort(heights)[-10:].mean()) if len(heights) >= 3 else 0.0

    return float(candidates[int(np.argmax(of_each(score, candidates)))])


def bead_candidates(maps: BeadMaps, view: int, threshold: float) -> tuple[Array, Array]:
    """Local maxima of a map: positions ``(n, 2)`` as xy in angstrom from the centre, and heights ``(n,)``."""
    image = maps.maps[view]
    row, column = _maxima(image, maps.diameter_angstrom / maps.pixel_size_angstrom)
    high = image[row, column] > threshold
    row, column = row[high], column[high]
    margin = max(2, round(0.5 * maps.diameter_angstrom / maps.pixel_size_angstrom))
    n_y, n_x = image.shape
    inner = (row >= margin) & (row < n_y - margin) & (column >= margin) & (column < n_x - margin)
    row, column = row[inner], column[inner]
    return positions_of_maxima(maps, view, row, column), image[row, column].double().cpu().numpy()


def positions_of_maxima(maps: BeadMaps, view: int, row: torch.Tensor, column: torch.Tensor) -> Array:
    """Sub-pixel positions of maxima, xy in angstrom from the image centre."""
    image = maps.maps[view].expand(len(row), -1, -1)
    y = row + refine_parabola(image, row, column, axis=0) - image.shape[1] // 2
    x = column + refine_parabola(image, row, column, axis=1) - image.shape[2] // 2
    return torch.stack([x, y], dim=1).double().cpu().numpy() * maps.pixel_size_angstrom
