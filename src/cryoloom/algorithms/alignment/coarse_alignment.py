"""Coarse alignment: outwards from the least tilted image by stretched correlation on a common canvas.

Images already placed are compressed across the tilt axis to the view of the new one (cosine stretching:
Guckenberger, Ultramicroscopy 9, 1982) and averaged on a canvas wider than the field, so that a specimen that
moved by a third of the field still overlaps. The new image is located in the average by a correlation over
common pixels only (Padfield, IEEE Trans. Image Process. 21, 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from cryoloom.algorithms.images.correlate import Overlap, find_peaks, half_whitened, overlap_correlation
from cryoloom.algorithms.images.fourier import good_fft_size
from cryoloom.algorithms.images.sample_images import sample_affine
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response, edge_taper
from cryoloom.geometry.slab_path import compression
from cryoloom.geometry.tilt_axis import across_axis

__all__ = ["CoarseAlignment", "align_coarsely", "prepared_for_correlation", "squeeze_images"]

Array = NDArray[np.float64]

#: Width of the canvas over that of the field: a shift by half a field stays on it.
CANVAS = 1.5
MAX_REFERENCES = 5  # chosen: nearest placed images that an image is compared with
#: Chosen: height of a peak over the map's standard deviation, above the 5 that noise alone reaches
#: (`select_tilts`). A less certain image is not used as a reference in the first pass.
SURE_PROMINENCE = 6.0
#: Chosen: height of a peak near the neighbour's shift, over that of the one near the middle of the series,
#: from which it is used. Where what is seen lies far from the height that the stage keeps (gold below thick
#: ice), images drift out of the reach about the middle; a true peak out there is several times as high.
HIGHER_AT_NEIGHBOUR = 1.3
TAPER = 0.1  # chosen: of the sides; sharp edges would correlate with each other at no shift


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
    canvas_yx: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Images ``(n, y, x)`` of a flat specimen converted to another tilt, shift removed; 0 outside.

    The point at u in the result is at ``shift + A u`` in the image, ``A`` scaling across the axis by
    ``cos(tilt) / cos(into)``. canvas_yx : shape of the results, by default that of the images.
    """
    across = across_axis(axis_deg)
    ratio = compression(tilt_deg, into_tilt_deg)
    matrices = np.eye(2) + (ratio - 1)[:, None, None] * np.outer(across, across)
    shape_yx = canvas_yx or (int(images.shape[-2]), int(images.shape[-1]))
    return sample_affine(images, matrices, np.asarray(shifts_yx_px)[:, ::-1], shape_yx)


def prepared_for_correlation(tilt_images: TiltImages) -> tuple[torch.Tensor, torch.Tensor]:
    """Half-whitened images ``(n, y, x)`` with soft edges, and the window ``(y, x)`` of their edges."""
    images, shape = tilt_images.images, tilt_images.shape_yx
    response = band_response(shape, min(shape) / 8, 4.0, images.device)
    outer = edge_taper(shape, TAPER, images.device)
    return half_whitened(images * outer, response) * outer, outer


def align_coarsely(
    tilt_images: TiltImages,
    tilt_deg: Array,
    axis_deg: float,
    usable: NDArray[np.bool_],
    *,
    max_shift_fraction: float = 0.3,
) -> CoarseAlignment:
    """Place every usable image; the others stay with the last placed neighbour.

    max_shift_fraction : largest distance of an image from the middle of the series, or from its neighbour
    where the images agree much better there; fraction of the field.
    Images must be small already (about 200 pixels a side): this is a search over the whole field.
    """
    shape = tilt_images.shape_yx
    canvas = (good_fft_size(round(CANVAS * shape[0])), good_fft_size(round(CANVAS * shape[1])))
    images, window = prepared_for_correlation(tilt_images)
    search = _Search(images, window, canvas, tilt_deg, axis_deg, max_shift_fraction * min(shape))
    n = len(tilt_deg)
    shifts, prominence = np.zeros((n, 2)), np.full(n, np.nan)
    least = int(np.argmin(np.where(usable, np.abs(tilt_deg), np.inf)))
    order = [int(i) for i in np.argsort(np.abs(tilt_deg - tilt_deg[least]), kind="stable") if i != least]
    placed, doubtful = [least], []
    for i in order:
        near = _nearest(tilt_deg, i, placed)
        shifts[i] = shifts[near[0]]
        if not usable[i]:
            continue
        shifts[i], prominence[i] = search.find(i, near, shifts, np.median(shifts[placed], axis=0))
        if prominence[i] >= SURE_PROMINENCE:
            placed.append(i)
        else:
            doubtful.append(i)
    for i in doubtful:  # once more, now between neighbours on both sides
        near = _nearest(tilt_deg, i, placed)
        shifts[i], prominence[i] = search.find(i, near, shifts, np.median(shifts[placed], axis=0))
    return CoarseAlignment(axis_deg, shifts[:, ::-1] * tilt_images.pixel_size_angstrom, prominence)


def _nearest(tilt_deg: Array, i: int, placed: list[int]) -> list[int]:
    """Placed views nearest in tilt."""
    return sorted(placed, key=lambda j: abs(tilt_deg[i] - tilt_deg[j]))[:MAX_REFERENCES]


@dataclass(frozen=True, slots=True)
class _Search:
    """Prepared images and the common data of every search on the canvas."""

    images: torch.Tensor
    window: torch.Tensor
    canvas: tuple[int, int]
    tilt_deg: Array
    axis_deg: float
    reach_px: float

    def find(self, i: int, near: list[int], shifts_yx_px: Array, middle_yx_px: Array) -> tuple[Array, float]:
        """Shift (y, x) in pixels of image ``i`` against its placed neighbours, and the peak's prominence."""
        views = torch.stack([self.images[near], self.window.expand(len(near), -1, -1)]).flatten(0, 1)
        twice = np.concatenate([near, near])
        squeezed = squeeze_images(
            views, self.tilt_deg[twice], shifts_yx_px[twice], self.axis_deg, self.tilt_deg[i], self.canvas
        )
        share = torch.tensor([0.8**k for k in range(len(near))], device=views.device)[:, None, None]
        total = (squeezed[: len(near)] * share).sum(dim=0)
        mass = (squeezed[len(near) :] * share).sum(dim=0)
        reference = total / (mass + 0.1)
        # The compressed reference is in the specimen's frame: its position in image i is the shift of i.
        pad = (0, self.canvas[1] - self.images.shape[2], 0, self.canvas[0] - self.images.shape[1])
        moving, window = (functional.pad(a, pad) for a in (self.images[i], self.window))
        maps = overlap_correlation(
            Overlap(reference, mass / (mass + 0.1)), Overlap(moving, window), side_by_side=True
        )
        # Centres: the canvas' is canvas // 2, the image's is n // 2 from its corner.
        offset = [c // 2 - int(n) // 2 for c, n in zip(self.canvas, self.images.shape[1:], strict=True)]
        found, height, prominence = self._peak_about(maps, middle_yx_px, offset)
        nearer = self._peak_about(maps, shifts_yx_px[near[0]], offset)
        if nearer[1] > HIGHER_AT_NEIGHBOUR * height:
            found, _, prominence = nearer
        return found, prominence

    def _peak_about(
        self, maps: torch.Tensor, place_yx_px: Array, offset: list[int]
    ) -> tuple[Array, float, float]:
        """Highest peak within reach of a place: its shift (y, x), height and prominence."""
        first = [round(float(m)) - o for m, o in zip(place_yx_px, offset, strict=True)]
        peak = find_peaks(torch.roll(maps, (-first[0], -first[1]), dims=(0, 1)), self.reach_px)
        found = peak.shifts_yx_px.double().cpu().numpy() + first + np.array(offset)
        return found, float(peak.height), float(peak.prominence)
