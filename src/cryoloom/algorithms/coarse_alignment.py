"""Coarse alignment: outwards from the least tilted image by stretched correlation, and a first tilt axis.

An already placed image is squeezed across the tilt axis into the view of the new one (cosine stretching:
Guckenberger, Ultramicroscopy 9, 1982), a few of them are summed, and the new image is found in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.correlate import correlation_peaks
from cryoloom.algorithms.tilt_images import TiltImages, band_response, edge_taper

__all__ = ["CoarseAlignment", "align_coarsely", "find_axis", "squeeze_images"]

Array = NDArray[np.float64]

STEADY_FRACTION = 0.2  # of the field: a larger jump between neighbours is not the stage's usual error
MAX_REFERENCES = 5
TAPER = 0.15


@dataclass(frozen=True, slots=True)
class CoarseAlignment:
    """Shift of each image ``(n, 2)`` as xy in angstrom; prominence ``(n,)`` of its correlation peak."""

    axis_deg: float
    shift_xy_angstrom: Array
    prominence: Array


def squeeze_images(
    images: torch.Tensor,
    tilt_deg: Array,
    shifts_yx_px: Array,
    axis_deg: float,
    into_tilt_deg: float,
) -> torch.Tensor:
    """Images ``(n, y, x)`` as a flat specimen would look at another tilt, shift removed; 0 outside.

    The point seen at u in the result is at ``shift + A u`` in the image, ``A`` scaling across the axis by
    ``cos(tilt) / cos(into)``.
    """
    n_y, n_x = int(images.shape[-2]), int(images.shape[-1])
    axis = np.deg2rad(axis_deg)
    across = np.array([np.cos(axis), np.sin(axis)])  # xy, perpendicular to the tilt axis
    ratio = np.cos(np.deg2rad(tilt_deg)) / np.cos(np.deg2rad(into_tilt_deg))
    matrices = np.eye(2) + (ratio - 1)[:, None, None] * np.outer(across, across)
    shifts_xy = np.asarray(shifts_yx_px)[:, ::-1]
    # grid_sample counts from -1 to 1 over the pixels' outer edges; our centre is index n // 2.
    size = np.array([n_x, n_y])
    centre = 2 * (size // 2 + 0.5) / size - 1
    theta = np.zeros((len(tilt_deg), 2, 3))
    theta[:, :, :2] = matrices * (size[None, :] / size[:, None])
    theta[:, :, 2] = centre - np.einsum("nij,j->ni", theta[:, :, :2], centre) + 2 * shifts_xy / size
    grid = functional.affine_grid(
        torch.from_numpy(theta).to(images), [len(tilt_deg), 1, n_y, n_x], align_corners=False
    )
    return functional.grid_sample(images[:, None], grid, mode="bilinear", align_corners=False)[:, 0]


def align_coarsely(
    tilt_images: TiltImages,
    tilt_deg: Array,
    axis_deg: float,
    usable: NDArray[np.bool_],
    *,
    max_shift_fraction: float = 0.3,
    start_yx_px: Array | None = None,
) -> CoarseAlignment:
    """Place every usable image; the others stay with the last placed neighbour.

    Images must be small already (about 256 pixels a side): this is a search over the whole field.
    """
    images = tilt_images.images
    n, shape = len(tilt_deg), tilt_images.shape_yx
    taper = edge_taper(shape, TAPER, images.device)
    response = band_response(shape, min(shape) / 8, 4.0, images.device)
    shifts = np.zeros((n, 2)) if start_yx_px is None else start_yx_px.copy()
    prominence = np.full(n, np.nan)
    least = int(np.argmin(np.where(usable, np.abs(tilt_deg), np.inf)))
    order = [int(i) for i in np.argsort(np.abs(tilt_deg - tilt_deg[least]), kind="stable")]
    placed = [least]
    aside: list[int] = []
    for i in order:
        if i == least:
            continue
        nearest = sorted(placed, key=lambda j: abs(tilt_deg[i] - tilt_deg[j]))[:MAX_REFERENCES]
        shifts[i] = shifts[nearest[0]] if start_yx_px is None else shifts[i]
        if not usable[i]:
            continue
        squeezed = squeeze_images(images[nearest], tilt_deg[nearest], shifts[nearest], axis_deg, tilt_deg[i])
        weight = torch.tensor(0.7 ** np.arange(len(nearest)), dtype=torch.float32, device=images.device)
        reference = (squeezed * weight[:, None, None]).sum(dim=0)
        guess = shifts[i].round()
        moved = torch.roll(images[i], tuple(int(-g) for g in guess), dims=(0, 1))
        peak = correlation_peaks(reference * taper, moved * taper, response, max_shift_fraction * min(shape))
        shifts[i] = guess + peak.shifts_yx_px.cpu().numpy()
        prominence[i] = float(peak.prominence)
        # An image that shows another place is no reference for the next, unless the next one shows it too.
        if _distance(shifts[i], shifts[nearest[0]]) <= STEADY_FRACTION * min(shape):
            placed.append(i)
        elif agreeing := [
            j for j in aside if _distance(shifts[i], shifts[j]) <= STEADY_FRACTION * min(shape)
        ]:
            placed += [*agreeing, i]
        else:
            aside.append(i)
    return CoarseAlignment(axis_deg, shifts[:, ::-1] * tilt_images.pixel_size_angstrom, prominence)


def _distance(a: Array, b: Array) -> float:
    return float(np.hypot(*(a - b)))


def find_axis(
    tilt_images: TiltImages,
    tilt_deg: Array,
    coarse: CoarseAlignment,
    usable: NDArray[np.bool_],
    candidates_deg: Array,
    *,
    neighbours: tuple[int, ...] = (1, 2, 3),
) -> tuple[float, Array]:
    """Axis under which squeezed neighbours look most alike, and the score of each candidate ``(n,)``.

    Score is the mean correlation height over pairs at more than 15 degrees; the shift stays free, so that
    the shifts found with a wrong axis do not favour it.
    """
    images, shape = tilt_images.images, tilt_images.shape_yx
    taper = edge_taper(shape, TAPER, images.device)
    response = band_response(shape, min(shape) / 8, 3.0, images.device)
    shifts_yx_px = coarse.shift_xy_angstrom[:, ::-1] / tilt_images.pixel_size_angstrom
    index = np.flatnonzero(usable)
    lower, higher = [], []
    for step in neighbours:
        for a, b in zip(index[:-step], index[step:], strict=True):
            flat, tilted = (a, b) if abs(tilt_deg[a]) < abs(tilt_deg[b]) else (b, a)
            if abs(tilt_deg[tilted]) > 15:
                lower.append(int(flat))
                higher.append(int(tilted))
    if not lower:
        return coarse.axis_deg, np.zeros(len(candidates_deg))
    zeros = np.zeros((1, 2))
    scores = np.zeros(len(candidates_deg))
    for k, axis in enumerate(candidates_deg):
        for a, b in zip(lower, higher, strict=True):
            reference = squeeze_images(
                images[a : a + 1], tilt_deg[[a]], shifts_yx_px[[a]], float(axis), float(tilt_deg[b])
            )
            moving = squeeze_images(images[b : b + 1], zeros[0, :1], shifts_yx_px[[b]], float(axis), 0.0)
            peak = correlation_peaks(reference * taper, moving * taper, response, 0.06 * min(shape))
            scores[k] += float(peak.height[0])
    scores /= len(lower)
    return _vertex(np.asarray(candidates_deg, float), scores), scores


def _vertex(x: Array, y: Array) -> float:
    """Position of the maximum of samples, refined by a parabola through five points."""
    best = int(np.argmax(y))
    low, high = max(0, best - 2), min(len(x), best + 3)
    if high - low < 3:
        return float(x[best])
    a, b, _ = np.polyfit(x[low:high] - x[best], y[low:high], 2)
    return (
        float(x[best] + np.clip(-b / (2 * a), x[low] - x[best], x[high - 1] - x[best]))
        if a < 0
        else float(x[best])
    )
