"""Back-projection of one strip from mixtures of images on the CPU: numba, with sums as vector code.

Mixing whole images for every slab of the volume moves ten times more memory than back-projection does. Here
a thread takes some voxels along x and goes up the volume: the columns they look at, a hundred a tilt, move
little from block to block, so that they are read once and mixed within the second-level cache.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.projection.backproject_cpu import Z_BLOCK, ask_for_rows, store_rows
from cryoloom.kernels.vector.code import (
    ROWS,
    TILT_BLOCK,
    mix_columns,
    new_columns,
    pointer,
    sum_tilts,
)

__all__ = ["back_project_deep_numba"]

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

_X_TILE = 64
"""Voxels along x per job: of less, more columns at their ends are mixed twice; of more, fewer stay in the
second-level cache."""


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def back_project_deep_numba(
    nodes: Floats,
    first_node: NDArray[np.int64],
    depths: Array,
    tilts: Array,
    columns: Floats,
    n_at_once: int,
    volume: Floats,
) -> None:
    """See `cryoloom.kernels.projection.backproject_deep.back_project_deep`; on NumPy arrays.

    depths : (node, 2), depth and scale. tilts : (tilt, 6), line, range and step.
    """
    n_tilts, (n_z, _, n_x) = len(columns), volume.shape
    n_padded = (n_tilts + TILT_BLOCK - 1) // TILT_BLOCK * TILT_BLOCK
    # No voxel of a block lies further from its first column than this.
    widest = np.abs(columns[:, 1]) * _X_TILE + np.abs(columns[:, 2]) * n_at_once
    width = int(np.ceil(widest.max())) + 3
    most_nodes = np.diff(first_node).max()
    per_z = np.zeros(n_padded, np.float32)
    per_z[:n_tilts] = columns[:, 2]
    first = np.zeros(n_padded, np.int32)
    first[:n_tilts] = np.arange(n_tilts) * (width * ROWS)
    last = np.float32(width - 1.001)
    for tile in prange((n_x + _X_TILE - 1) // _X_TILE):
        x_start, x_stop = tile * _X_TILE, min(n_x, (tile + 1) * _X_TILE)
        mixed = new_columns(n_tilts * width).reshape((n_tilts, width, ROWS))
        work = np.empty((2 + most_nodes, width))
        weights = np.empty((most_nodes, width), np.float32)
        at_x_start = np.empty(n_tilts, np.float32)
        at_z_0 = np.zeros(n_padded, np.float32)
        offsets = np.empty(n_padded, np.int32)
        shares = np.empty(n_padded, np.float32)
        sums = new_columns(_X_TILE * Z_BLOCK).reshape((_X_TILE, Z_BLOCK, ROWS))
        for z_start in range(0, n_z, n_at_once):
            z_stop = min(n_z, z_start + n_at_once)
            for t in range(n_tilts):
                u0, ux, uz = columns[t]
                low = min(ux * x_start, ux * (x_stop - 1)) + min(uz * z_start, uz * (z_stop - 1))
                high = max(ux * x_start, ux * (x_stop - 1)) + max(uz * z_start, uz * (z_stop - 1))
                begin = int(np.floor(u0 + low))
                seen = min(width, int(np.floor(u0 + high)) + 2 - begin)
                at_x_start[t] = np.float64(u0) + x_start * np.float64(ux) - begin
                own = slice(first_node[t], first_node[t + 1])
                middle = 0.5 * (z_start + z_stop - 1)
                _mix(nodes[own], depths[own], tilts[t], middle, begin, weights, work, mixed[t, :seen])
            for x in range(x_start, x_stop):
                for t in range(n_tilts):
                    at_z_0[t] = at_x_start[t] + np.float32(x - x_start) * columns[t, 1]
                ask_for_rows(volume, sums, x_start, z_start, x - x_start)
                for z in range(z_start, z_stop):
                    target = pointer(sums, ((x - x_start) * Z_BLOCK + z - z_start) * ROWS)
                    sum_tilts(mixed, (at_z_0, per_z, first), np.float32(z), last, offsets, shares, target)
            store_rows(sums, volume, x_start, x_stop, z_start, z_stop)


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def _mix(
    nodes: Floats,
    depths: Array,
    tilt: Array,
    z: float,
    begin: int,
    weights: Floats,
    work: Array,
    mixed: Floats,
) -> None:
    """Columns ``begin`` and on of one tilt's image, for voxels at height ``z``; 0 beyond its ends."""
    n_nodes, n_columns, _ = nodes.shape
    d0, dc, dz, low, high, step = tilt
    first, stop = max(0, -begin), min(len(mixed), n_columns - begin)
    mixed[: min(first, len(mixed))] = 0
    mixed[max(0, stop) :] = 0
    if stop <= first:
        return
    depth = work[0, : stop - first]
    for i in range(len(depth)):
        depth[i] = min(max(d0 + dc * (begin + first + i) + dz * z, low), high)
    _weigh(depths, depth, step, work[1], work[2:])
    for node in range(n_nodes):
        weights[node, : len(depth)] = work[2 + node, : len(depth)]
    mix_columns(
        pointer(mixed, first * ROWS),
        pointer(nodes, (begin + first) * ROWS),
        n_columns * ROWS,
        pointer(weights, 0),
        weights.shape[1],
        n_nodes,
        len(depth),
    )


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def _weigh(depths: Array, depth: Array, step: float, product: Array, weights: Array) -> None:
    """``weights[node, column]`` of the nodes for columns seen at the given depths."""
    n = len(depths)
    if step > 0:
        per_step = 1 / step
        for node in range(n):
            here, weight = depths[node, 0], weights[node]
            for i in range(len(depth)):
                weight[i] = max(0.0, 1 - abs(depth[i] - here) * per_step)
        return
    # Products of all other distances: those before, then times those after.
    product[:] = 1
    for node in range(n):
        here, scale, weight = depths[node, 0], depths[node, 1], weights[node]
        for i in range(len(depth)):
            weight[i] = product[i] * scale
            product[i] *= depth[i] - here
    product[:] = 1
    for node in range(n - 1, -1, -1):
        here, weight = depths[node, 0], weights[node]
        for i in range(len(depth)):
            weight[i] *= product[i]
            product[i] *= depth[i] - here
