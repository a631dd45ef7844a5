"""Projection matching: every image against its reprojection from the other images.

First outwards, as images are placed, then all against all (Winkler & Taylor, Ultramicroscopy 106, 2006;
AreTomo: Zheng et al., J. Struct. Biol. X 6, 2022).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.coarse_alignment import prepared_for_correlation
from cryoloom.algorithms.alignment.focus import without_drift
from cryoloom.algorithms.alignment.reprojections import SPECIMEN_ANGSTROM, Plane, Reprojector
from cryoloom.algorithms.images.correlate import Overlap, find_peaks, overlap_correlation
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.geometry.slab_path import sines_between

__all__ = ["follow_up", "match_projections"]

Array = NDArray[np.float64]


def follow_up(displacement: Array, weight: Array, tilt_deg: Array, band_angstrom: float = 80.0) -> Array:
    """Displacements ``(n_views, ..., 2)`` of images, from those measured against their reprojections.

    The reprojection of an image moves with the other images, so a smooth error over tilts is only partly
    visible: ``displacement = e - W e``, where W is the share of each image in the reprojection of another
    (the overlap of their slabs in Fourier space). Solved by least squares. weight : (n_views, ...), 0 where
    not measured.
    """
    apart = sines_between(tilt_deg)
    frequency = np.linspace(0.1, 1.0, 10) / band_angstrom
    overlap = np.clip(1 - SPECIMEN_ANGSTROM * apart[..., None] * frequency, 0, None).sum(axis=-1)
    np.fill_diagonal(overlap, 0.0)
    share = overlap / (overlap.sum(axis=1, keepdims=True) + 1e-9)
    system = np.eye(len(tilt_deg)) - share
    flat_weight = weight.reshape(len(tilt_deg), -1)
    flat = np.where(flat_weight[..., None] > 0, displacement.reshape(len(tilt_deg), -1, 2), 0.0)
    # A small ridge term fixes what is undetermined: a common shift, and images without a measurement.
    normal = np.einsum("vi,vp,vj->pij", system, flat_weight, system) + 1e-3 * np.eye(len(tilt_deg))
    right = np.einsum("vi,vp,vpk->pik", system, flat_weight, flat)
    return np.linalg.solve(normal, right).transpose(1, 0, 2).reshape(displacement.shape)


def match_projections(
    tilt_images: TiltImages,
    start: SeriesGeometry,
    usable: NDArray[np.bool_],
    *,
    max_shift_angstrom: float,
    n_rounds: int = 2,
    plane: Plane = (0.0, 0.0, 0.0),
) -> SeriesGeometry:
    """Shifts of whole images by projection matching, all against all; first outwards as the volume grows.

    A smooth drift across the axis is hardly visible: that of ``start`` is kept.
    """
    geometry = start
    order = start.outwards(usable)
    prepared, window = prepared_for_correlation(tilt_images)
    placed = np.zeros(len(usable), dtype=bool)
    placed[order[:3]] = True
    step = 4  # views at a time: neighbours of one ring cannot predict each other
    for first in range(3, len(order), step):
        fresh = order[first : first + step]
        geometry = _matched(tilt_images, prepared, window, geometry, placed, fresh, max_shift_angstrom, plane)
        placed[fresh] = True
    for round_ in range(n_rounds):
        reach = max_shift_angstrom / 2 ** (round_ + 1)
        geometry = _matched(tilt_images, prepared, window, geometry, placed, order, reach, plane)
    change = without_drift(geometry.shift_xy_angstrom - start.shift_xy_angstrom, start, usable)
    return replace(geometry, shift_xy_angstrom=start.shift_xy_angstrom + change)


def _matched(
    tilt_images: TiltImages,
    prepared: torch.Tensor,
    window: torch.Tensor,
    geometry: SeriesGeometry,
    placed: NDArray[np.bool_],
    views: list[int],
    reach_angstrom: float,
    plane: Plane,
) -> SeriesGeometry:
    """The geometry with the shifts of ``views`` measured against reprojections of the placed ones."""
    known = placed.copy()
    known[views] = True
    reprojector = Reprojector.of(tilt_images, geometry, known, plane)
    chosen = np.searchsorted(reprojector.views, views)
    parts = np.flatnonzero(placed[reprojector.views])
    back = reprojector.turned_back(
        reprojector.predict(reprojector.aligned(tilt_images.images), parts, chosen), chosen
    )
    spread = back.flatten(1).std(dim=1)[:, None, None] + 1e-9
    reference = TiltImages(
        back / spread, tilt_images.pixel_size_angstrom, tilt_images.mean, tilt_images.deviation
    )
    whitened, _ = prepared_for_correlation(reference)
    covered = (back.abs() > 0).to(back)
    shape = tilt_images.shape_yx
    canvas = tuple(good_fft_size(round(1.3 * n)) for n in shape)
    pad = (0, canvas[1] - shape[1], 0, canvas[0] - shape[0])
    windows = window.expand(len(views), -1, -1)
    maps = overlap_correlation(
        Overlap(functional.pad(whitened, pad), functional.pad(windows * covered, pad)),
        Overlap(functional.pad(prepared[views], pad), functional.pad(windows, pad)),
    )
    peaks = find_peaks(maps, reach_angstrom / tilt_images.pixel_size_angstrom)
    found = peaks.shifts_yx_px.flip(-1).double().cpu().numpy() * tilt_images.pixel_size_angstrom
    shift = geometry.shift_xy_angstrom.copy()
    if placed[views].all():
        weight = np.clip(peaks.prominence.double().cpu().numpy() / 20.0, 0.05, 1.0)
        found = follow_up(found, weight, geometry.tilt_deg[views])
    shift[views] += found
    return replace(geometry, shift_xy_angstrom=shift)
