"""Patches cut from the images of a series and located against references."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cryoloom.algorithms.images.correlate import Peaks, cross_correlation, find_peaks
from cryoloom.algorithms.images.sample_images import cut_boxes
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response

__all__ = ["LEAST_PROMINENCE", "PatchCorrelator"]

Array = NDArray[np.float64]

#: Chosen: height of a correlation peak over the standard deviation of its map. Lower peaks are often noise;
#: outliers above it are removed by the robust weights of the adjustment.
LEAST_PROMINENCE = 3.5


@dataclass(frozen=True, slots=True)
class PatchCorrelator:
    """Working images and the common data of every correlation of patches."""

    images: torch.Tensor
    pixel_size_angstrom: float
    side: int
    window: torch.Tensor
    response: torch.Tensor

    @classmethod
    def of(cls, tilt_images: TiltImages, patch_angstrom: float) -> PatchCorrelator:
        """For square patches of about that side, at most half the field."""
        side = 2 * round(patch_angstrom / tilt_images.pixel_size_angstrom / 2)
        shape = (int(tilt_images.images.shape[1]), int(tilt_images.images.shape[2]))
        side = min(side, 2 * (min(shape) // 4))
        hann = torch.hann_window(side, periodic=False, device=tilt_images.images.device)
        window = torch.sqrt(hann[:, None] * hann[None, :])
        response = band_response((side, side), side / 2, 4.0).to(window)
        return cls(tilt_images.images, tilt_images.pixel_size_angstrom, side, window, response)

    def fits(self, centres_xy_angstrom: Array) -> NDArray[np.bool_]:
        """Which patches are inside the image, up to an eighth of their width."""
        n_y, n_x = int(self.images.shape[1]), int(self.images.shape[2])
        limit = (np.array([n_x, n_y]) / 2 - 0.375 * self.side) * self.pixel_size_angstrom
        return np.asarray((np.abs(centres_xy_angstrom) <= limit).all(axis=1))

    def cut(self, view: int, centres_xy_angstrom: Array) -> torch.Tensor:
        """Patches ``(n, side, side)`` about positions in one image."""
        centres = centres_xy_angstrom / self.pixel_size_angstrom
        return cut_boxes(self.images[view], centres, self.side, beyond="reflection")

    def locate(
        self, references: torch.Tensor, moving: torch.Tensor, max_shift_angstrom: float
    ) -> tuple[Array, Array]:
        """Shifts ``(n, 2)`` as xy in angstrom of ``moving`` against ``references``, and prominences."""
        flat = [(p - p.mean(dim=(-2, -1), keepdim=True)) * self.window for p in (references, moving)]
        maps = cross_correlation(flat[0], flat[1], self.response)
        peaks: Peaks = find_peaks(maps, max_shift_angstrom / self.pixel_size_angstrom)
        shift = peaks.shifts_yx_px.flip(-1).double().cpu().numpy() * self.pixel_size_angstrom
        return shift, peaks.prominence.double().cpu().numpy()
