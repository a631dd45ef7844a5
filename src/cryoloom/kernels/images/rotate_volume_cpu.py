"""A volume at many rotations on the CPU: one numba loop over planes."""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

__all__ = ["rotate_volume_numba"]


@numba.njit(parallel=True, error_model="numpy", nogil=True, cache=True)
def rotate_volume_numba(
    samples: NDArray[np.float32],
    rotations: NDArray[np.float64],
    samples_per_voxel: float,
    out: NDArray[np.float32],
    reach: float,
) -> None:
    """See `cryoloom.kernels.images.rotate_volume.rotate_volume`; the same on NumPy arrays."""
    side, centre = samples.shape[0], samples.shape[0] // 2
    n, middle = out.shape[1], out.shape[1] // 2
    for job in prange(len(rotations) * n):
        i, iz = job // n, job % n
        r = rotations[i] * samples_per_voxel
        z = iz - middle
        for iy in range(n):
            y = iy - middle
            out[i, iz, iy] = 0
            left = reach * reach - y * y - z * z
            if left < 0:
                continue
            half = min(int(np.sqrt(left)), middle)
            # Reference coordinates are R^T (x, y, z): columns of R.
            px = r[1, 0] * y + r[2, 0] * z + centre - r[0, 0] * half
            py = r[1, 1] * y + r[2, 1] * z + centre - r[0, 1] * half
            pz = r[1, 2] * y + r[2, 2] * z + centre - r[0, 2] * half
            for ix in range(middle - half, middle + half + 1):
                x0, y0, z0 = int(np.floor(px)), int(np.floor(py)), int(np.floor(pz))
                value = np.float32(0.0)
                if 0 <= x0 < side - 1 and 0 <= y0 < side - 1 and 0 <= z0 < side - 1:
                    fx, fy, fz = np.float32(px - x0), np.float32(py - y0), np.float32(pz - z0)
                    one = np.float32(1.0)
                    low = (one - fy) * (
                        (one - fx) * samples[z0, y0, x0] + fx * samples[z0, y0, x0 + 1]
                    ) + fy * ((one - fx) * samples[z0, y0 + 1, x0] + fx * samples[z0, y0 + 1, x0 + 1])
                    high = (one - fy) * (
                        (one - fx) * samples[z0 + 1, y0, x0] + fx * samples[z0 + 1, y0, x0 + 1]
                    ) + fy * ((one - fx) * samples[z0 + 1, y0 + 1, x0] + fx * samples[z0 + 1, y0 + 1, x0 + 1])
                    value = (one - fz) * low + fz * high
                out[i, iz, iy, ix] = value
                px += r[0, 0]
                py += r[0, 1]
                pz += r[0, 2]
