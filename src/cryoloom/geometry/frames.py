"""Between array indices and positions: xyz in angstrom from the centre, which is index ``n // 2``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["binned_shape", "index_from_position", "position_from_index"]


def position_from_index(
    index: ArrayLike, shape: tuple[int, ...], pixel_size_angstrom: float
) -> NDArray[np.float64]:
    """Positions ``(..., d)`` as xyz (or xy) in angstrom from array indices ``(..., d)`` in array order.

    ``shape`` is the array's, ``(z, y, x)`` or ``(y, x)``; indices are real-valued pixel centres.
    """
    centre = np.asarray(shape) // 2
    return (np.asarray(index, dtype=np.float64) - centre)[..., ::-1] * pixel_size_angstrom


def index_from_position(
    position_angstrom: ArrayLike, shape: tuple[int, ...], pixel_size_angstrom: float
) -> NDArray[np.float64]:
    """Real-valued array indices ``(..., d)`` in array order; inverse of `position_from_index`."""
    centre = np.asarray(shape) // 2
    return np.asarray(position_angstrom, dtype=np.float64)[..., ::-1] / pixel_size_angstrom + centre


def binned_shape(shape: tuple[int, ...], binning: float) -> tuple[int, ...]:
    """Shape after binning by any real factor: the nearest even number of pixels, at least 2."""
    return tuple(max(2, 2 * round(n / binning / 2)) for n in shape)
