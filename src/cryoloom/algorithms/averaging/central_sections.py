"""Small pictures of a map while it is refined: its central sections, as 8 bits."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["central_sections"]

_MOST_PX = 64
_DEVIATIONS = 3.5
"""Chosen for viewing: pixels of the picture, and standard deviations from the mean to black and to white."""


def central_sections(volume: torch.Tensor) -> NDArray[np.uint8]:
    """Sections through index n // 2 as ``(3, m, m)``: (y, x), (z, x) and (y, z).

    volume : a cube (z, y, x). Sections of more than 64 pixels are averaged. Black and white are 3.5 standard
    deviations of the volume below and above its mean.
    """
    n = int(volume.shape[0])
    middle = n // 2
    factor = -(-n // _MOST_PX)
    planes = torch.stack((volume[middle], volume[:, middle], volume[:, :, middle].T)).double()
    if factor > 1:
        side = n // factor
        cut = planes[:, : side * factor, : side * factor]
        planes = cut.reshape(3, side, factor, side, factor).mean(dim=(2, 4))
    mean, deviation = float(volume.double().mean()), float(volume.double().std())
    low = mean - _DEVIATIONS * deviation
    scaled = (planes - low) * (255.0 / max(2 * _DEVIATIONS * deviation, 1e-30))
    return np.asarray(scaled.round().clamp(0, 255).numpy(), dtype=np.uint8)
