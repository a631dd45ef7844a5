"""A mask that a user gives as a file, for a map on the same grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels

__all__ = ["given_mask"]

_BEYOND = 0.01
"""Values this far outside of 0 to 1 come from resampling a mask, and are clipped."""


def given_mask(path: Path, shape: tuple[int, ...], step: str) -> torch.Tensor:
    """Mask ``(z, y, x)`` from 0 to 1. step : names in its error which parameter is to be corrected.

    Raises UserInputError if the file is missing, on another grid, or no mask.
    """
    if not path.is_file():
        raise UserInputError(f"the mask {path} is not there; correct mask of {step}")
    mask = np.asarray(MrcPixels(path)[...], dtype=np.float32)
    if mask.shape != shape:
        raise UserInputError(
            f"the mask has {' x '.join(map(str, mask.shape))} voxels, but the average has "
            f"{' x '.join(map(str, shape))}; give a mask on the grid of the average"
        )
    is_finite = bool(np.isfinite(mask).all())
    if not is_finite or mask.min() < -_BEYOND or mask.max() > 1 + _BEYOND or mask.max() <= 0:
        raise UserInputError(
            f"the mask has values from {mask.min():g} to {mask.max():g}; expected finite values from 0 to 1"
        )
    return torch.tensor(mask.clip(0.0, 1.0))
