"""Forward projection of a strip of a volume: the sum along the beam, row by row; numba on the CPU.

The counterpart of `cryoloom.kernels.backproject`: the tilt axis is y, and all rows y of a strip share the
columns, so the innermost loop runs over contiguous rows as vector code.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["forward_project"]

Floats = NDArray[np.float32]


def forward_project(volume: Floats, rays: Floats, images: Floats) -> None:
    """Fill images with the sums of a strip along the rays of each tilt.

    volume : (z, x, row) float32, contiguous. rays : (tilt, 3) float32 as (x0, xu, xz): the ray of image
    column u passes layer z at ``x = x0 + xu u + xz z``, interpolated linearly; beyond the volume it adds 0.
    images : (tilt, u, row) float32, overwritten.
    """
    if volume.shape[2] != images.shape[2] or rays.shape != (images.shape[0], 3):
        raise ValueError(f"volume {volume.shape}, rays {rays.shape} and images {images.shape} do not fit")
    _forward_project(volume, rays, images)


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def _forward_project(volume: Floats, rays: Floats, images: Floats) -> None:
    n_z, n_x, n_rows = volume.shape
    n_tilts, n_u, _ = images.shape
    for job in prange(n_tilts * n_u):
        tilt, u = job // n_u, job % n_u
        sums = np.zeros(n_rows, np.float32)
        start = rays[tilt, 0] + rays[tilt, 1] * np.float32(u)
        for z in range(n_z):
            x = start + rays[tilt, 2] * np.float32(z)
            if x < np.float32(0) or x > np.float32(n_x - 1):
                continue
            left = min(int(x), n_x - 2)
            right = x - np.float32(left)
            for row in range(n_rows):
                sums[row] += (np.float32(1) - right) * volume[z, left, row] + right * volume[z, left + 1, row]
        images[tilt, u] = sums
