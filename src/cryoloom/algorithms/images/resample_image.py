"""Images with larger pixels, without aliasing, with the same centre and square pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cryoloom.algorithms.images.fourier import crop_rfft

__all__ = ["BinnedFrame", "bin_image", "binned_frame"]


@dataclass(frozen=True, slots=True)
class BinnedFrame:
    """The part of an image that is used, about its centre, and the shape it is binned to."""

    kept_yx: tuple[int, int]
    binned_yx: tuple[int, int]

    @property
    def binning(self) -> float:
        """Old pixels per new pixel, the mean of both sides."""
        return sum(k / b for k, b in zip(self.kept_yx, self.binned_yx, strict=True)) / 2


def binned_frame(shape_yx: tuple[int, int], binning: float) -> BinnedFrame:
    """Frame of a binning of 1 or more, whole or not.

    A side of m binned pixels needs m binning old ones, a whole number: the largest even m that gives one to a
    thousandth, else that comes nearest among the 32 largest.
    """
    sides = [_side(n, binning) for n in shape_yx]
    return BinnedFrame((sides[0][0], sides[1][0]), (sides[0][1], sides[1][1]))


def _side(n: int, binning: float) -> tuple[int, int]:
    """Old and new pixels of a side."""
    largest = 2 * math.floor(n / binning / 2 + 1e-9)
    best = max(largest, 2)
    for m in range(largest, max(largest - 64, 2), -2):
        if abs(m * binning - round(m * binning)) < abs(best * binning - round(best * binning)) - 1e-9:
            best = m
        if abs(best * binning - round(best * binning)) < 1e-3:
            break
    return min(n, round(best * binning)), best


def bin_image(image: torch.Tensor, frame: BinnedFrame) -> torch.Tensor:
    """Means over binned pixels, ``(y, x)``, by cropping the spectrum of ``image`` ``(y, x)``.

    Frequencies the new pixels cannot hold are removed. The centre ``n // 2`` stays the centre. The transform
    joins opposite edges, so the outermost two pixels ring where these differ.
    """
    (k_y, k_x), (b_y, b_x) = frame.kept_yx, frame.binned_yx
    top, left = image.shape[0] // 2 - k_y // 2, image.shape[1] // 2 - k_x // 2
    kept = image[top : top + k_y, left : left + k_x]
    if (k_y, k_x) == (b_y, b_x):
        return kept.clone()
    return torch.fft.irfft2(crop_rfft(torch.fft.rfft2(kept), (k_y, k_x), (b_y, b_x)), s=(b_y, b_x))
