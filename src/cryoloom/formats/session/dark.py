"""Dark references: what a camera counts in a frame without a beam."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.gain import read_reference_image

__all__ = ["load_dark"]


def load_dark(path: Path, shape_yx: tuple[int, int]) -> NDArray[np.float32]:
    """Dark counts ``(y, x)`` of one frame, oriented as the frames are.

    Raises UserInputError if the file is missing or of an unknown kind, and DataUnfitError where it does
    not fit the frames or holds values that are not numbers.
    """
    image = read_reference_image(path, "dark reference")
    if image.shape != shape_yx:
        raise DataUnfitError(
            f"the dark reference {path.name} does not fit the movies; give one of their size",
            got_yx=image.shape,
            expected_yx=shape_yx,
        )
    if not np.isfinite(image).all():
        raise DataUnfitError(
            f"the dark reference {path.name} has pixels that are NaN or infinite; record it again",
            n_pixels=int(image.size - np.isfinite(image).sum()),
        )
    return np.ascontiguousarray(image)
