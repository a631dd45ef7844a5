"""Layers along the beam filled with point scatterers and with a slab of ice, on the CPU: numba loops."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["slab_in_layer_numba", "stamp_clouds_numba"]


@numba.njit(fastmath=True, cache=True, nogil=True)
def stamp_clouds_numba(
    layers: NDArray[np.float32],
    points: NDArray[np.float32],
    weights: NDArray[np.float32],
    spans: NDArray[np.int64],
    radii: NDArray[np.float32],
    rotations: NDArray[np.float32],
    centres: NDArray[np.float32],
    lowest: float,
    layer_thickness: float,
    pixel_size: float,
    first_layer: int,
    n_layers: int,
) -> Any:
    """See `cryoloom.kernels.projection.specimen_layers.stamp_clouds`; the same on NumPy arrays."""
    n_here, n_y, n_x = layers.shape
    for i in range(n_here):
        layer = first_layer + i
        low = lowest + layer * layer_thickness if layer > 0 else -1e30
        high = lowest + (layer + 1) * layer_thickness if layer < n_layers - 1 else 1e30
        wx = np.empty(4, np.float32)
        wy = np.empty(4, np.float32)
        for m in range(len(spans)):
            cx, cy, cw, radius = centres[m, 0], centres[m, 1], centres[m, 2], radii[m]
            if cw + radius < low or cw - radius >= high:
                continue
            if abs(cx) - radius > 0.5 * n_x * pixel_size or abs(cy) - radius > 0.5 * n_y * pixel_size:
                continue
            r = rotations[m]
            for j in range(spans[m, 0], spans[m, 1]):
                px, py, pz = points[j, 0], points[j, 1], points[j, 2]
                w = cw + r[2, 0] * px + r[2, 1] * py + r[2, 2] * pz
                if w < low or w >= high:
                    continue
                x = (cx + r[0, 0] * px + r[0, 1] * py + r[0, 2] * pz) / pixel_size + n_x // 2
                y = (cy + r[1, 0] * px + r[1, 1] * py + r[1, 2] * pz) / pixel_size + n_y // 2
                ix, iy = int(np.floor(x)) - 1, int(np.floor(y)) - 1
                if ix < 0 or iy < 0 or ix + 3 >= n_x or iy + 3 >= n_y:
                    continue
                _cubic_b_spline(x - np.floor(x), wx)
                _cubic_b_spline(y - np.floor(y), wy)
                for a in range(4):
                    row = weights[j] * wy[a]
                    for b in range(4):
                        layers[i, iy + a, ix + b] += row * wx[b]


@numba.njit(fastmath=True, cache=True, nogil=True)
def slab_in_layer_numba(
    out: NDArray[np.float32],
    origin_xy: tuple[float, float],
    slope_xy: tuple[float, float],
    height: float,
    half_path: float,
    low: float,
    high: float,
) -> int:
    """See `cryoloom.kernels.projection.specimen_layers.slab_in_layer`; the same on NumPy arrays."""
    covered = 0
    for y in range(out.shape[0]):
        row = height + slope_xy[1] * (y - origin_xy[1]) - slope_xy[0] * origin_xy[0]
        for x in range(out.shape[1]):
            middle = row + slope_xy[0] * x
            inside = min(middle + half_path, high) - max(middle - half_path, low)
            if inside > 0.0:
                out[y, x] = np.sqrt(inside)
                covered += 1
            else:
                out[y, x] = 0.0
    return covered


@numba.njit(fastmath=True, cache=True, inline="always")
def _cubic_b_spline(t: float, out: NDArray[np.float32]) -> None:
    """Weights of the four grid points around a position ``t`` in 0..1 past the second."""
    s = 1.0 - t
    out[0] = s * s * s / 6.0
    out[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    out[2] = (4.0 - 6.0 * s * s + 3.0 * s * s * s) / 6.0
    out[3] = t * t * t / 6.0
