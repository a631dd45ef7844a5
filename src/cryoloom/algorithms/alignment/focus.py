"""Smooth errors of an alignment, corrected by maximising the sharpness of the specimen.

Neighbouring images agree with each other even if the specimen drifts in depth from tilt to tilt: a shift
across the axis by ``c (1 - cos t)`` only moves everything by ``c sin t``. Images far apart then disagree, and
dark detail is smeared out in the mean of all. So smooth shifts and the axis are varied until the mean of all
back-projected images has the strongest dark maxima, which require agreement.

Bodies of several hundred angstrom stay sharp under a drift of 10 A, in all parts of the field alike. Where
the images have finer detail, each part of the field is focused again by it, and the parts must agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.reprojections import Plane, Reprojector
from cryoloom.algorithms.images.parabola import highest_by_parabola
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_pass, shrink_images
from cryoloom.geometry.tilt_axis import across_axis, column_slopes
from cryoloom.kernels.projection.backproject import STRIP_ROWS
from cryoloom.kernels.projection.project import add_back_projection
from cryoloom.kernels.rows.transpose_rows import transpose_rows

__all__ = ["drift_error", "drift_modes", "focus_finely", "focus_series", "sharpness", "without_drift"]

Array = NDArray[np.float64]

PIXEL_ANGSTROM = 30.0  # of the images: a quarter of the finest detail of the band
BAND_ANGSTROM = (450.0, 130.0)  # large protein complexes, membranes seen edge-on and gold have contrast in it
#: Chosen: standard deviations to which images are clipped, so that strong detail of one image does not
#: dominate.
LARGEST_DEVIATION = 4.0
HALF_DEPTH_ANGSTROM = 1200.0  # chosen: of the slab, for specimens of up to 2400 A
N_MODES = 4
"""Chosen with EMPIAR-10499 and four simulated series without markers: smooth shifts over the tilts."""
#: Chosen: smallest step of a shift, a sixth of a pixel.
SMALLEST_STEP_ANGSTROM = 5.0
#: Chosen: smallest step of the axis; it moves the edge of a field of 1 um by 9 A, as little as the shift.
SMALLEST_STEP_DEG = 0.1
#: Chosen: length of a part of the field along the axis; a shorter part has too little detail for its own
#: drift.
PART_ANGSTROM = 900.0
FEWEST_PARTS, MOST_PARTS = 3, 6  # chosen: enough for the scatter of their drifts, in little time
FINE_PIXEL_ANGSTROM, FINE_BAND_ANGSTROM = 15.0, (150.0, 70.0)
"""Chosen: detail of single proteins. On virus shells (`benchmarks/hiv_from_movies.py`, seeds 4 and 5) drifts
of 8.7 and 1.8 A are seen as 0.3 and 2.7 A in `BAND_ANGSTROM` and as 9.1 and 1.8 A in this band."""
LARGEST_FINE_ERROR_ANGSTROM = 3.0
"""Chosen: of each mode, from the scatter of the parts. Noise gives maxima anywhere within reach: parts differ
by 15 A, and their mean has an error of 9 A."""
MOST_UPDATES = 4e8
"""Chosen: voxels times views that are summed for one trial of all parts, a quarter of a second; a large field
has detail enough in a part of its rows."""
PART_REACH_ANGSTROM = 40.0
"""Chosen: parts differ by 7 A where particles are small, by 0.5 to 1.4 A in fields of 2.8 um."""


def drift_modes(tilt_deg: Array, n_modes: int = N_MODES) -> Array:
    """Smooth shifts over tilts of rms 1, ``(n_modes, n_views)``, that no point of the specimen explains.

    Polynomials in the tilt, orthogonal to ``a cos(tilt) + b sin(tilt)``, lowest degree first.
    """
    tilt = np.deg2rad(tilt_deg)
    explained = np.linalg.qr(np.stack(column_slopes(tilt_deg), axis=1))[0]
    scaled = 2 * (tilt - tilt.min()) / max(float(np.ptp(tilt)), 1e-9) - 1
    # The first two polynomials are almost explained; one combination of degrees 1 and 2 is left.
    powers = np.polynomial.legendre.legvander(scaled, n_modes + 1)[:, [0, *range(3, n_modes + 2)]]
    modes = []
    for power in powers.T:
        rest = power
        for _ in range(2):
            rest = rest - explained @ (explained.T @ rest)
        explained = np.column_stack([explained, rest / np.linalg.norm(rest)])
        modes.append(explained[:, -1])
    return np.array(modes) * np.sqrt(len(tilt))


def without_drift(change_xy_angstrom: Array, geometry: SeriesGeometry, usable: NDArray[np.bool_]) -> Array:
    """Changes of shifts ``(n_views, 2)`` without their smooth part over the tilts across the axis."""
    across = across_axis(geometry.axis_deg[usable])
    tilt_deg = geometry.tilt_deg[usable]
    smooth = np.linalg.qr(np.concatenate([column_slopes(tilt_deg), drift_modes(tilt_deg)]).T)[0]
    moved = (change_xy_angstrom[usable] * across).sum(axis=1)
    rest = change_xy_angstrom.copy()
    rest[usable] -= (smooth @ (smooth.T @ moved))[:, None] * across
    return rest


def focus_series(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane = (0.0, 0.0, 0.0),
    *,
    reach_angstrom: float = 300.0,
    axis_reach_deg: float = 2.0,
) -> SeriesGeometry:
    """Smooth shifts across the axis, and the axis, at which the specimen is sharpest.

    reach_angstrom : initial search range of each mode, rms over the views. Jumps between images must already
    be small. plane : middle of the specimen, ``z = a + b x + c y``.
    """
    detail = _dark_detail(tilt_images)
    modes = drift_modes(start.tilt_deg[usable])
    drift, turn_deg = np.zeros(len(modes)), 0.0
    aligned = _AlignedStrips.of(detail, start, usable, plane)
    step, reach, axis_step = reach_angstrom / 6, reach_angstrom, axis_reach_deg / 4
    while step > SMALLEST_STEP_ANGSTROM:
        drift = _nearer(aligned, modes, drift, step, reach)
        if axis_step > SMALLEST_STEP_DEG:
            ticks = _ticks(axis_step, 2 * axis_step)
            turned = [start.with_axis_turned(turn_deg + tick) for tick in ticks]
            scores = [
                _AlignedStrips.of(detail, trial, usable, plane).sharpness(drift @ modes) for trial in turned
            ]
            turn_deg += highest_by_parabola(ticks, np.array(scores))
            aligned = _AlignedStrips.of(detail, start.with_axis_turned(turn_deg), usable, plane)
            axis_step /= 2
        step, reach = step / 2, step
    result = start.with_axis_turned(turn_deg)
    shift = result.shift_xy_angstrom.copy()
    shift[usable] += (drift @ modes)[:, None] * across_axis(result.axis_deg[usable])
    return replace(result, shift_xy_angstrom=shift)


def sharpness(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane = (0.0, 0.0, 0.0),
) -> float:
    """Quantity that `focus_series` maximises; comparable between geometries of one series."""
    aligned = _AlignedStrips.of(_dark_detail(tilt_images), geometry, usable, plane)
    return aligned.sharpness(np.zeros(int(usable.sum())))


def focus_finely(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane = (0.0, 0.0, 0.0),
) -> tuple[SeriesGeometry, Array] | None:
    """A focused series without the drift that only fine detail shows, and the error that is left.

    The error is as that of `drift_error`. None if parts of the field do not agree: the images then have no
    such detail above noise. None too if their pixels are too large for it.
    """
    if 2 * tilt_images.pixel_size_angstrom > FINE_BAND_ANGSTROM[1]:
        return None
    detail = _dark_detail(tilt_images, FINE_PIXEL_ANGSTROM, FINE_BAND_ANGSTROM)
    drifts, modes = _drifts_of_parts(detail, tilt_images, geometry, usable, plane, MOST_UPDATES)
    if drifts.std(axis=0, ddof=1).max() > LARGEST_FINE_ERROR_ANGSTROM * np.sqrt(len(drifts)):
        return None
    shift = geometry.shift_xy_angstrom.copy()
    shift[usable] += (drifts.mean(axis=0) @ modes)[:, None] * across_axis(geometry.axis_deg[usable])
    return replace(geometry, shift_xy_angstrom=shift), _error_of_mean(drifts, modes, usable)


def drift_error(
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane = (0.0, 0.0, 0.0),
) -> Array:
    """Error of the smooth drift of a focused series, one deviation, ``(n_views,)`` in angstrom.

    The field is divided along the axis into parts with nothing in common but the poses. Each is focused by
    itself; the error of the drift of all is the scatter of the parts' drifts over the root of their number.
    """
    drifts, modes = _drifts_of_parts(_dark_detail(tilt_images), tilt_images, geometry, usable, plane)
    return _error_of_mean(drifts, modes, usable)


def _drifts_of_parts(
    detail: TiltImages,
    tilt_images: TiltImages,
    geometry: SeriesGeometry,
    usable: NDArray[np.bool_],
    plane: Plane,
    most_updates: float = np.inf,
) -> tuple[Array, Array]:
    """Weights of the drift's modes in each part of the field ``(part, mode)``, and the modes."""
    modes = drift_modes(geometry.tilt_deg[usable])
    along = tilt_images.shape_yx[0] * tilt_images.pixel_size_angstrom
    n_parts = int(np.clip(round(along / PART_ANGSTROM), FEWEST_PARTS, MOST_PARTS))
    parts = _AlignedStrips.parts_of(detail, geometry, usable, plane, n_parts)
    return np.array([_drift_of(part.at_most(most_updates / n_parts), modes) for part in parts]), modes


def _error_of_mean(drifts: Array, modes: Array, usable: NDArray[np.bool_]) -> Array:
    """Error of the mean drift of the parts, ``(n_views,)``; NaN where a view is not used."""
    error = np.full(len(usable), np.nan)
    scatter = drifts.std(axis=0, ddof=1) / np.sqrt(len(drifts))
    error[usable] = np.sqrt((scatter[:, None] ** 2 * modes**2).sum(axis=0))
    return error


def _drift_of(aligned: _AlignedStrips, modes: Array) -> Array:
    """Weights of the modes ``(n_modes,)`` at which the strips are sharpest."""
    drift = np.zeros(len(modes))
    step, reach = PART_REACH_ANGSTROM / 3, PART_REACH_ANGSTROM
    while step > SMALLEST_STEP_ANGSTROM:
        drift = _nearer(aligned, modes, drift, step, reach)
        step, reach = step / 2, step
    return drift


def _nearer(aligned: _AlignedStrips, modes: Array, drift: Array, step: float, reach: float) -> Array:
    """The drift with each mode in turn moved to where the strips are sharpest within reach."""
    ticks = _ticks(step, reach)
    for mode in range(len(modes)):
        trials = drift @ modes + ticks[:, None] * modes[mode]
        scores = np.array([aligned.sharpness(shift) for shift in trials])
        drift[mode] += highest_by_parabola(ticks, scores)
    return drift


def _dark_detail(
    tilt_images: TiltImages,
    pixel_angstrom: float = PIXEL_ANGSTROM,
    band_angstrom: tuple[float, float] = BAND_ANGSTROM,
) -> TiltImages:
    """Small images in which dark detail is positive, about 1 in noise."""
    small = shrink_images(tilt_images, round(tilt_images.field_angstrom / pixel_angstrom))
    pixel = small.pixel_size_angstrom
    maps = -band_pass(small.images, band_angstrom[0] / pixel, band_angstrom[1] / pixel)
    maps = maps / (maps.flatten(1).std(dim=1)[:, None, None] + 1e-12)
    return replace(small, images=maps.clamp(-LARGEST_DEVIATION, LARGEST_DEVIATION))


def _ticks(step: float, reach: float) -> Array:
    """Multiples of a step within reach, at least -1, 0 and 1."""
    n = max(1, round(reach / step))
    return np.asarray(step * np.arange(-n, n + 1), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _AlignedStrips:
    """Aligned images in strips of rows, ready to be back-projected with shifts across the axis."""

    strips: tuple[torch.Tensor, ...]
    columns: NDArray[np.float32]
    n_z: int
    pixel_size_angstrom: float

    @classmethod
    def of(
        cls, detail: TiltImages, geometry: SeriesGeometry, usable: NDArray[np.bool_], plane: Plane
    ) -> _AlignedStrips:
        return cls.parts_of(detail, geometry, usable, plane, 1)[0]

    @classmethod
    def parts_of(
        cls,
        detail: TiltImages,
        geometry: SeriesGeometry,
        usable: NDArray[np.bool_],
        plane: Plane,
        n_parts: int,
    ) -> list[_AlignedStrips]:
        """Parts of the field along the axis, with about the same content each."""
        reprojector = Reprojector.of(detail, geometry, usable, plane, half_depth_angstrom=HALF_DEPTH_ANGSTROM)
        aligned = reprojector.aligned(detail.images)
        n_rows = reprojector.shape[0]
        content = torch.cumsum((aligned**2).sum(dim=(0, 2)), dim=0).cpu().numpy()
        inner = np.searchsorted(content, content[-1] * np.arange(1, n_parts) / n_parts)
        edges = [0, *(int(row) for row in inner), n_rows]
        columns, _ = reprojector.lines()
        return [
            cls(_strips(aligned[:, low:high]), columns, reprojector.n_z, detail.pixel_size_angstrom)
            for low, high in pairwise(edges)
        ]

    def at_most(self, most_updates: float) -> _AlignedStrips:
        """Some of the strips, evenly chosen, so that no more voxels times views are summed in a trial."""
        of_a_strip = self.strips[0].numel() * self.n_z
        wanted = max(1, int(min(most_updates / of_a_strip, len(self.strips))))
        chosen = np.linspace(0, len(self.strips) - 1, wanted).round().astype(int)
        return replace(self, strips=tuple(self.strips[i] for i in chosen))

    def sharpness(self, shift_angstrom: Array) -> float:
        """Mean cube of the dark part of the mean of all images, each moved across the axis, ``(n_views,)``.

        The square would include the noise of every image as well, and prefer features that fill the field.
        """
        columns = self.columns.copy()
        columns[:, 0] += (shift_angstrom / self.pixel_size_angstrom).astype(np.float32)
        n_x = self.strips[0].shape[1] - 2
        device = self.strips[0].device
        scale = torch.full((self.n_z, n_x), len(columns) ** -0.5, device=device)
        slab = torch.empty((self.n_z, n_x, STRIP_ROWS), device=device)
        total = 0.0
        for strip in self.strips:
            slab.zero_()
            add_back_projection(strip, torch.from_numpy(columns).to(device), scale, slab)
            total += float((slab.clamp_(min=0) ** 3).mean())
        return total / len(self.strips)


def _strips(aligned: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Rows ``(view, row, column)`` in strips as the kernels take them, the last one filled up with zeros."""
    n_views, n_rows, n_u = aligned.shape
    strips = []
    for row in range(0, n_rows, STRIP_ROWS):
        block = aligned[:, row : row + STRIP_ROWS]
        block = functional.pad(block, (0, 0, 0, STRIP_ROWS - block.shape[1]))
        strip = torch.empty((n_views, n_u + 2, STRIP_ROWS), device=aligned.device)
        transpose_rows(block.contiguous(), 0, strip)
        strips.append(strip)
    return tuple(strips)
