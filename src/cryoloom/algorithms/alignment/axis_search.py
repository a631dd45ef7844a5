"""Tilt axis from whole images: similarity of neighbours compressed across it, and common lines.

The first compares two images as projections of a flat specimen; with a wrong axis they are compressed in a
wrong direction. The second uses that all images share one line: the sum across the axis is the same profile
along it in every tilt (Penczek, Zhu & Frank, Ultramicroscopy 63, 1996). They have no assumption in common but
the tilts.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.coarse_alignment import (
    CoarseAlignment,
    prepared_for_correlation,
    squeeze_images,
)
from cryoloom.algorithms.images.correlate import Overlap, correlation_peaks, find_peaks, overlap_correlation
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.single_thread_pool import of_each
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import (
    TiltImages,
    band_pass,
    band_response,
    edge_taper,
    shrink_images,
)
from cryoloom.geometry.slab_path import compression, tilt_of_compression
from cryoloom.geometry.tilt_axis import across_axis, along_axis, column_slopes

__all__ = [
    "AxisScores",
    "agreed_axis",
    "common_line_of",
    "compare_axes",
    "find_axis",
    "find_common_line",
    "search_circle",
]

_LEAST_STEEP_DEG = 15.0
"""Chosen, of the steeper tilt of a pair: below, a wrong axis hardly changes what both images share."""

Array = NDArray[np.float64]

#: Chosen: least tilt of the compared images. At 25 degrees they are compressed by 9 %; at lower tilt they
#: hardly change.
STEEP_DEG = 25.0
PAIR_DISTANCE_DEG = 5.0  # chosen: tilts nearer to each other agree about any axis
COMMON_LINE_PIXELS = 160  # chosen: shorter side of the images; common lines are compared in coarse detail
COMMON_LINE_REACH_DEG, COMMON_LINE_STEP_DEG = 6.0, 1.5
"""Chosen: about the axis of the first search, good to a degree or two."""
SAME_AXIS_DEG = 1.0
"""Chosen: between metadata and common line, to agree; each is good to a degree or two."""


@dataclass(frozen=True, slots=True)
class AxisScores:
    """Score of each axis: ``axes_deg`` ``(n,)``, ``scores`` ``(n,)``, higher is better.

    by_sample : (n, n_samples), whose means are the scores; their scatter gives the error of a difference.
    """

    axes_deg: Array
    by_sample: Array

    @property
    def scores(self) -> Array:
        """Mean over the samples."""
        return np.asarray(self.by_sample.mean(axis=1))

    @property
    def best_deg(self) -> float:
        """Axis of the highest score, interpolated by a parabola."""
        axes, scores = self.axes_deg, self.scores
        if len(axes) > 2 and np.isclose(np.ptp(axes) + axes[1] - axes[0], 180.0):
            roll = len(axes) // 2 - int(np.argmax(scores))  # half a turn of axes is periodic
            axes, scores = np.unwrap(np.roll(axes, roll), period=180.0), np.roll(scores, roll)
        return _vertex(axes, scores)

    def significance(self, better: int, worse: int) -> float:
        """Difference of the scores of two axes, in its standard errors."""
        difference = self.by_sample[better] - self.by_sample[worse]
        error = float(difference.std(ddof=1)) / np.sqrt(len(difference)) if len(difference) > 2 else np.inf
        return float(difference.mean()) / max(error, 1e-12)


def search_circle(
    tilt_images: TiltImages, tilt_deg: Array, usable: NDArray[np.bool_], *, step_deg: float = 12.0
) -> AxisScores:
    """Every axis of half a turn by pairs of neighbouring images, independent of their shifts.

    Images of about 100 pixels per side. Opposite directions are equivalent for images (a mirrored specimen).
    """
    return compare_axes(tilt_images, tilt_deg, usable, np.arange(-90.0, 90.0, step_deg))


def compare_axes(
    tilt_images: TiltImages, tilt_deg: Array, usable: NDArray[np.bool_], axes_deg: Array
) -> AxisScores:
    """Score axes by the correlation of pairs a few degrees apart, with free shifts."""
    images, window = prepared_for_correlation(tilt_images)
    low, high = _pairs(tilt_deg, usable)
    if len(low) == 0:
        return AxisScores(np.asarray(axes_deg, float), np.zeros((len(axes_deg), 1)))
    canvas = tuple(good_fft_size(round(1.3 * n)) for n in images.shape[1:])
    pad = (0, canvas[1] - images.shape[2], 0, canvas[0] - images.shape[1])
    windows = window.expand(len(low), -1, -1)
    moving = functional.pad(images[high], pad)
    moving_window = functional.pad(windows, pad)
    zeros = np.zeros((len(low), 2))

    def heights_of(axis: float) -> Array:
        # squeeze_images takes one target tilt; for a pair only the ratio of cosines matters.
        as_tilt = tilt_of_compression(compression(tilt_deg[low], tilt_deg[high]), 70.0)
        squeezed = squeeze_images(images[low], as_tilt, zeros, axis, 70.0)
        squeezed_window = squeeze_images(windows, as_tilt, zeros, axis, 70.0)
        maps = overlap_correlation(
            Overlap(functional.pad(squeezed, pad), functional.pad(squeezed_window, pad)),
            Overlap(moving, moving_window),
        )
        peaks = find_peaks(maps, 0.6 * min(tilt_images.shape_yx))
        return peaks.height.double().cpu().numpy()

    axes = np.asarray(axes_deg, float)
    return AxisScores(axes, np.array(of_each(heights_of, axes.tolist())))


def _pairs(tilt_deg: Array, usable: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs (lower, higher) of steep images on one side, at least `PAIR_DISTANCE_DEG` apart."""
    low, high = [], []
    for side in (-1.0, 1.0):
        index = [int(i) for i in np.argsort(side * tilt_deg) if usable[i] and side * tilt_deg[i] > 0]
        for rank, i in enumerate(index):
            far = [j for j in index[rank + 1 :] if side * (tilt_deg[j] - tilt_deg[i]) >= PAIR_DISTANCE_DEG]
            if far and side * tilt_deg[far[0]] > STEEP_DEG:
                low.append(i)
                high.append(far[0])
    return np.array(low, dtype=np.int64), np.array(high, dtype=np.int64)


def find_axis(
    tilt_images: TiltImages,
    tilt_deg: Array,
    coarse: CoarseAlignment,
    usable: NDArray[np.bool_],
    candidates_deg: Array,
    *,
    neighbours: tuple[int, ...] = (1, 2, 3),
) -> AxisScores:
    """Score axes by pairs with approximately known shifts: finer than `compare_axes`.

    A small shift stays free, so that shifts found with a wrong axis do not favour it.
    """
    images, shape = tilt_images.images, tilt_images.shape_yx
    taper = edge_taper(shape, 0.15, images.device)
    response = band_response(shape, min(shape) / 8, 3.0, images.device)
    shifts_yx_px = coarse.shift_xy_angstrom[:, ::-1] / tilt_images.pixel_size_angstrom
    index = np.flatnonzero(usable)
    pairs = [
        (int(a), int(b)) if abs(tilt_deg[a]) < abs(tilt_deg[b]) else (int(b), int(a))
        for step in neighbours
        for a, b in zip(index[:-step], index[step:], strict=True)
    ]
    pairs = [(a, b) for a, b in pairs if abs(tilt_deg[b]) > _LEAST_STEEP_DEG]
    if not pairs:
        return AxisScores(np.asarray(candidates_deg, float), np.zeros((len(candidates_deg), 1)))
    zeros = np.zeros(1)

    def height_of(tried: tuple[float, tuple[int, int]]) -> float:
        axis, (a, b) = tried
        reference = squeeze_images(
            images[a : a + 1], tilt_deg[[a]], shifts_yx_px[[a]], axis, float(tilt_deg[b])
        )
        moving = squeeze_images(images[b : b + 1], zeros, shifts_yx_px[[b]], axis, 0.0)
        peak = correlation_peaks(reference * taper, moving * taper, response, 0.06 * min(shape))
        return float(peak.height[0])

    axes = np.asarray(candidates_deg, float)
    heights = of_each(height_of, list(itertools.product(axes.tolist(), pairs)))
    return AxisScores(axes, np.array(heights).reshape(len(axes), len(pairs)))


def find_common_line(
    tilt_images: TiltImages,
    tilt_deg: Array,
    shift_xy_angstrom: Array,
    usable: NDArray[np.bool_],
    candidates_deg: Array,
) -> AxisScores:
    """Score axes by the similarity of the images' profiles along them, each against the mean of all others.

    Only the strip common to all images is summed: at tilt t, ``cos t`` of the field's width.
    """
    images, shape = tilt_images.images[usable], tilt_images.shape_yx
    images = band_pass(images, min(shape) / 4, 3.0)
    shifts = shift_xy_angstrom[usable, ::-1] / tilt_images.pixel_size_angstrom
    tilts = tilt_deg[usable]
    side = min(shape)
    y = (torch.arange(side) - side // 2).to(images)
    samples = []
    for axis in np.asarray(candidates_deg, float):
        # Rows run along the axis, columns across it, compressed as the image is: one column, one strip.
        turn, across = along_axis(axis), across_axis(axis)
        lines = []
        for image, shift, tilt in zip(images, shifts, tilts, strict=True):
            step_x = across * column_slopes(tilt)[0]
            at_x = (shape[1] // 2 + shift[1]) + y[:, None] * turn[0] + y[None, :] * step_x[0]
            at_y = (shape[0] // 2 + shift[0]) + y[:, None] * turn[1] + y[None, :] * step_x[1]
            grid = torch.stack([(2 * at_x + 1) / shape[1] - 1, (2 * at_y + 1) / shape[0] - 1], dim=-1)
            sampled = functional.grid_sample(image[None, None], grid[None], align_corners=False)[0, 0]
            lines.append((sampled * torch.hann_window(side).to(sampled)[None, :]).sum(dim=1))
        samples.append(_likeness(torch.stack(lines)))
    return AxisScores(np.asarray(candidates_deg, float), np.array(samples))


def common_line_of(
    tilt_images: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_]
) -> AxisScores:
    """Scores of axes about that of a geometry, by the common line of the images as it places them."""
    steps = np.arange(-COMMON_LINE_REACH_DEG, COMMON_LINE_REACH_DEG + 0.1, COMMON_LINE_STEP_DEG)
    small = shrink_images(tilt_images, COMMON_LINE_PIXELS)
    candidates = geometry.mean_axis_deg + steps
    return find_common_line(small, geometry.tilt_deg, geometry.shift_xy_angstrom, usable, candidates)


def agreed_axis(nominal_deg: float | None, line_deg: float) -> float | None:
    """Mean of the axes by metadata and by the common line, in the latter's direction; None if they differ."""
    if nominal_deg is None:
        return None
    apart = (nominal_deg - line_deg + 90.0) % 180.0 - 90.0
    return line_deg + 0.5 * apart if abs(apart) < SAME_AXIS_DEG else None


def _likeness(lines: torch.Tensor, reach: int = 3) -> Array:
    """Correlation of each line ``(n, length)`` with the mean of the others, best within a small shift."""
    window = torch.hann_window(lines.shape[1]).to(lines)
    lines = (lines - lines.mean(dim=1, keepdim=True)) * window
    lines = lines / (lines.norm(dim=1, keepdim=True) + 1e-12)
    for _ in range(2):  # the second round uses aligned lines
        others = lines.sum(dim=0, keepdim=True) - lines
        others = others / (others.norm(dim=1, keepdim=True) + 1e-12)
        shifted = torch.stack([torch.roll(lines, k, dims=1) for k in range(-reach, reach + 1)])
        heights = (shifted * others).sum(dim=2)
        best = heights.argmax(dim=0)
        lines = shifted[best, torch.arange(len(lines))]
    return heights.amax(dim=0).double().cpu().numpy()


def _vertex(x: Array, y: Array) -> float:
    """Position of the maximum of samples, refined by a parabola through five points."""
    best = int(np.argmax(y))
    low, high = max(0, best - 2), min(len(x), best + 3)
    if high - low < 3:
        return float(x[best])
    a, b, _ = np.polyfit(x[low:high] - x[best], y[low:high], 2)
    if a >= 0:
        return float(x[best])
    return float(x[best] + np.clip(-b / (2 * a), x[low] - x[best], x[high - 1] - x[best]))
