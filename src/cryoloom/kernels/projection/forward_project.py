"""Forward projection of a strip of a volume: the sum along the beam, row by row; numba on the CPU.

The counterpart of `cryoloom.kernels.projection.backproject`: the tilt axis is y, and all rows y of a strip
share the columns, so the innermost sums are those of back-projection with heights in the place of tilts.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.vector.code import ROWS, TILT_BLOCK, pointer, sum_tilts

__all__ = ["forward_project", "own_taps"]

Floats = NDArray[np.float32]

_U_TILE = 64
_ALMOST_1 = np.float32(1 - 1.2e-7)


def forward_project(volume: Floats, rays: Floats, images: Floats) -> None:
    """Fill images with the sums of a strip along the rays of each tilt.

    volume : (z, x, 32) float32, contiguous, its outermost columns x all 0. rays : (tilt, 3) float32 as
    (x0, xu, xz): the ray of image column u passes layer z at ``x = x0 + xu u + xz z``, interpolated linearly.
    images : (tilt, u, 32) float32, overwritten.
    """
    if (
        volume.shape[2] != ROWS
        or images.shape[2] != ROWS
        or rays.shape != (images.shape[0], 3)
        or volume.shape[1] < 2
    ):
        raise ValueError(
            f"expected {ROWS} rows and a ray for each tilt, got volume {volume.shape}, rays {rays.shape} and "
            f"images {images.shape}"
        )
    if volume.size >= 2**31:  # offsets are 32-bit
        raise ValueError(f"a strip of {volume.size} voxels is too large")
    _forward_project(volume, rays, images)


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def _forward_project(volume: Floats, rays: Floats, images: Floats) -> None:
    n_z, n_x, _ = volume.shape
    n_tilts, n_u, _ = images.shape
    n_padded = (n_z + TILT_BLOCK - 1) // TILT_BLOCK * TILT_BLOCK
    first = np.zeros(n_padded, np.int32)
    first[:n_z] = np.arange(n_z) * (n_x * ROWS)
    last = np.float32(n_x - 1) * _ALMOST_1
    n_tiles = (n_u + _U_TILE - 1) // _U_TILE
    for job in prange(n_tilts * n_tiles):
        tilt, tile = job // n_tiles, job % n_tiles
        at_u_0 = np.zeros(n_padded, np.float32)
        per_u = np.zeros(n_padded, np.float32)
        for z in range(n_z):
            at_u_0[z] = rays[tilt, 0] + rays[tilt, 2] * np.float32(z)
            per_u[z] = rays[tilt, 1]
        offsets = np.empty(n_padded, np.int32)
        weights = np.empty(n_padded, np.float32)
        for u in range(tile * _U_TILE, min(n_u, (tile + 1) * _U_TILE)):
            target = pointer(images, (tilt * n_u + u) * ROWS)
            sum_tilts(volume, (at_u_0, per_u, first), np.float32(u), last, offsets, weights, target)


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def own_taps(scale: Floats, rays: Floats, columns: Floats, n_u: int) -> Floats:
    """What a column of an image gives itself and its neighbours by way of the volume, ``(tilt, u, 3)``.

    An image back-projected with the weights ``scale (z, x)`` and projected along its own rays is
    ``sum_k taps[u, k] image[u - 1 + k]``: a ray meets, left and right of it, voxels that took from the ray's
    column and the next. columns, rays : (tilt, 3), as `back_project` and `forward_project` take them.
    """
    n_z, n_x = scale.shape
    taps = np.zeros((len(rays), n_u, 3), np.float32)
    for tilt in prange(len(rays)):
        per_x = columns[tilt, 1]
        for u in range(n_u):
            for z in range(n_z):
                x = rays[tilt, 0] + rays[tilt, 1] * u + rays[tilt, 2] * z
                if x < 0 or x > n_x - 1:
                    continue
                left = min(int(x), n_x - 2)
                right = x - left
                from_left, from_right = (1 - right) * scale[z, left], right * scale[z, left + 1]
                # The left voxel lies on column u - right * per_x, the other on u + (1 - right) * per_x.
                taps[tilt, u, 0] += from_left * right * per_x
                taps[tilt, u, 2] += from_right * (1 - right) * per_x
                taps[tilt, u, 1] += from_left * (1 - right * per_x) + from_right * (1 - (1 - right) * per_x)
    return taps
