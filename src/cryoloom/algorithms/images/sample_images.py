"""Images sampled on rotated, stretched and shifted grids of pixels.

Coordinates are xy in pixels from the centres ``n // 2``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

__all__ = ["cut_boxes", "sample_affine"]

Array = NDArray[np.float64]


def sample_affine(
    images: torch.Tensor,
    matrix: Array,
    offset_px: Array,
    shape_yx: tuple[int, int],
    *,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> torch.Tensor:
    """Images ``(n, y, x)`` at ``offset + matrix u`` for every pixel u of results of that shape; 0 outside.

    matrix : (n, 2, 2). offset_px : (n, 2).
    """
    along_x, along_y = (torch.arange(n) - n // 2 for n in (shape_yx[1], shape_yx[0]))
    per_x, per_y, at_centre = _in_halves(images, matrix[..., 0], matrix[..., 1], offset_px)
    columns = along_x.to(images)[:, None] * per_x[:, None]
    rows = at_centre[:, None] + along_y.to(images)[:, None] * per_y[:, None]
    grid = rows[:, :, None] + columns[:, None]
    return functional.grid_sample(images[:, None], grid, mode=mode, align_corners=False)[:, 0]


def cut_boxes(
    image: torch.Tensor,
    centres_px: Array,
    side: int,
    *,
    beyond: Literal["zeros", "reflection"] = "zeros",
) -> torch.Tensor:
    """Boxes ``(n, side, side)`` of an image ``(y, x)`` about positions ``(n, 2)``, between pixels too.

    beyond : value outside the image.
    """
    ticks = (torch.arange(side) - side // 2).to(image)
    along_x, along_y = np.eye(2)
    per_x, per_y, at_centre = _in_halves(image, along_x, along_y, centres_px)
    lines = at_centre[:, None] + ticks[:, None] * per_y
    # One tall grid over the one image instead of a copy of the image per box.
    tall = (lines[:, :, None] + ticks[:, None] * per_x).reshape(1, -1, side, 2)
    cut = functional.grid_sample(image[None, None], tall, padding_mode=beyond, align_corners=False)
    return cut.reshape(-1, side, side)


def _in_halves(
    images: torch.Tensor, per_x: Array, per_y: Array, at_centre: Array
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Steps and places in pixels as grid_sample counts: from -1 to 1 over the outer edges of the pixels."""
    size = np.array([images.shape[-1], images.shape[-2]])
    place = (2 * (at_centre + size // 2) + 1) / size - 1
    on_x, on_y, middle = (torch.from_numpy(a).to(images) for a in (2 * per_x / size, 2 * per_y / size, place))
    return on_x, on_y, middle
