"""Where an image shows gold beads: its correlation with the shadow of a sphere, and the maxima of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

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
"""Of a candidate, over the map's spread."""
_TRIED_ANGSTROM, _LEAST_DIAMETER_PX = np.geomspace(50.0, 300.0, 12), 2.5
"""Chosen: diameters of gold beads in use, 5 to 20 nm and somewhat more; smaller shadows are single pixels."""


@dataclass(frozen=True, slots=True)
class BeadMaps:
    """Matched-filter maps ``(tilt, y, x)`` in units of their spread, high where a bead's centre is."""

    maps: torch.Tensor
    pixel_size_angstrom: float
    diameter_angstrom: float


def bead_maps(tilt_images: TiltImages, diameter_angstrom: float) -> BeadMaps:
    """Correlate each image with the shadow of a sphere minus its surroundings."""
    images = tilt_images.images
    template = _sphere_template(diameter_angstrom / tilt_images.pixel_size_angstrom, tilt_images.shape_yx)
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(template)).conj().to(images.device)
    maps = torch.empty_like(images)

    def correlate(i: int) -> None:
        one = torch.fft.irfft2(torch.fft.rfft2(images[i]) * spectrum, s=tilt_images.shape_yx)
        maps[i] = one / (1.4826 * one.abs().median() + 1e-12)

    for _ in each_image(correlate, len(images)):
        pass
    return BeadMaps(maps, tilt_images.pixel_size_angstrom, diameter_angstrom)


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


def measure_bead_diameter(tilt_images: TiltImages, view: int) -> float:
    """Diameter in angstrom whose shadow stands out most in one image: mean of the ten highest peaks."""
    pixel = tilt_images.pixel_size_angstrom
    one = replace(tilt_images, images=tilt_images.images[view : view + 1])
    candidates = [d for d in _TRIED_ANGSTROM if d >= _LEAST_DIAMETER_PX * pixel]

    def score(diameter: float) -> float:
        heights = bead_candidates(bead_maps(one, diameter), 0, LEAST_SIGNIFICANCE)[1]
        return float(np.sort(heights)[-10:].mean()) if len(heights) >= 3 else 0.0

    return float(candidates[int(np.argmax(of_each(score, candidates)))])


def bead_candidates(maps: BeadMaps, view: int, threshold: float) -> tuple[Array, Array]:
    """Local maxima of a map: positions ``(n, 2)`` as xy in angstrom from the centre, and heights ``(n,)``."""
    image = maps.maps[view]
    side = 2 * max(1, round(0.4 * maps.diameter_angstrom / maps.pixel_size_angstrom)) + 1
    # Along one axis and then the other, which is the same and far less work.
    highest = functional.max_pool2d(image[None, None], (1, side), stride=1, padding=(0, side // 2))
    highest = functional.max_pool2d(highest, (side, 1), stride=1, padding=(side // 2, 0))[0, 0]
    row, column = torch.nonzero((image == highest) & (image > threshold), as_tuple=True)
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
