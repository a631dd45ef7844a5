"""Back-projection of one strip from images that change with depth: each is a mixture of a few others.

Mixing whole images for every slab of the volume moves ten times more memory than back-projection does. Here
a thread takes some voxels along x and goes up the volume: the columns they look at, a hundred a tilt, move
little from block to block, so that they are read once and mixed within the second-level cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from cryoloom.kernels.backproject_cpu import Z_BLOCK, ask_for_rows, store_rows
from cryoloom.kernels.vector_code import ROWS, TILT_BLOCK, add_runs, new_columns, pointer, sum_tilts

__all__ = ["DepthMixtures", "back_project_deep"]

Floats = NDArray[np.float32]
Array = NDArray[np.float64]

_X_TILE = 32
"""Voxels along x per job: their columns of all tilts and nodes fit into the second-level cache."""


@dataclass(frozen=True, slots=True)
class DepthMixtures:
    """How the images of a strip depend on depth.

    The weights of a tilt's nodes at depth d are ``scale_i prod_(j != i) (d - depth_j)``, or, with a step,
    ``max(0, 1 - |d - depth_i| / step)``, with d held within the tilt's range.
    """

    first_node: NDArray[np.int64]
    """(tilt + 1,); the nodes of tilt t are ``first_node[t]`` to ``first_node[t + 1] - 1``."""
    node_depths: Array
    """(node,) in any unit of depth."""
    node_scales: Array
    """(node,); not used with a step."""
    lines: Array
    """(tilt, 3) as (d0, dc, dz): column c is seen from height z at the depth ``d0 + dc c + dz z``."""
    ranges: Array
    """(tilt, 2), least and largest depth."""
    steps: Array
    """(tilt,) distance of the nodes, or 0 for the polynomial."""


def back_project_deep(
    nodes: Floats, mixtures: DepthMixtures, columns: Floats, slab_voxels: int, volume: Floats
) -> None:
    """Fill a strip of a volume with the sum over tilts of images mixed for the depth of the voxels.

    nodes   : (node, column, 32) float32, contiguous, the nodes of a tilt one after the other.
    columns : (tilt, 3) float32, as `back_project` takes them.
    slab_voxels : heights for which a mixture may be used; never more than 16 are.
    volume  : (z, y, x) float32 with at most 32 rows y, contiguous, overwritten.
    """
    if nodes.shape[2] != ROWS or volume.shape[1] > ROWS or len(nodes) != len(mixtures.node_depths):
        raise ValueError(f"expected strips of {ROWS} rows and a depth for each of {len(nodes)} nodes")
    _back_project_deep(
        nodes,
        mixtures.first_node,
        np.stack([mixtures.node_depths, mixtures.node_scales], axis=1),
        np.hstack([mixtures.lines, mixtures.ranges, mixtures.steps[:, None]]),
        columns,
        max(1, min(slab_voxels, Z_BLOCK)),
        volume,
    )


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def _back_project_deep(
    nodes: Floats,
    first_node: NDArray[np.int64],
    depths: Array,
    tilts: Array,
    columns: Floats,
    n_at_once: int,
    volume: Floats,
) -> None:
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
        weights = np.empty(most_nodes + 1, np.float32)
        node_offsets = np.empty(most_nodes + 1, np.int32)
        begins = np.empty(n_tilts, np.int64)
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
                begins[t] = int(np.floor(u0 + low))
                seen = min(width, int(np.floor(u0 + high)) + 2 - begins[t])
                own = slice(first_node[t], first_node[t + 1])
                middle = 0.5 * (z_start + z_stop - 1)
                _mix(
                    nodes[own],
                    depths[own],
                    tilts[t],
                    middle,
                    begins[t],
                    weights,
                    node_offsets,
                    mixed[t, :seen],
                )
            for x in range(x_start, x_stop):
                for t in range(n_tilts):
                    at_z_0[t] = np.float64(columns[t, 0]) + x * np.float64(columns[t, 1]) - begins[t]
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
    offsets: NDArray[np.int32],
    mixed: Floats,
) -> None:
    """Columns ``begin`` and on of one tilt's image, for voxels at height ``z``; 0 beyond its ends."""
    n_nodes, n_columns, _ = nodes.shape
    d0, dc, dz, low, high, step = tilt
    n_even = (n_nodes + 1) // 2 * 2
    weights[n_nodes:n_even] = 0
    for k in range(n_even):
        offsets[k] = min(k, n_nodes - 1) * n_columns * ROWS
    for i in range(len(mixed)):
        c = begin + i
        for y in range(ROWS):
            mixed[i, y] = 0
        if 0 <= c < n_columns:
            _weigh(depths, min(max(d0 + dc * c + dz * z, low), high), step, weights)
            target, source = pointer(mixed, i * ROWS), pointer(nodes, c * ROWS)
            add_runs(target, source, pointer(offsets, 0), pointer(weights, 0), n_even)


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def _weigh(depths: Array, depth: float, step: float, weights: Floats) -> None:
    n = len(depths)
    if step > 0:
        for i in range(n):
            weights[i] = max(0.0, 1 - abs(depth - depths[i, 0]) / step)
        return
    # Products of all other distances: those before, then times those after.
    product = 1.0
    for i in range(n):
        weights[i] = product * depths[i, 1]
        product *= depth - depths[i, 0]
    product = 1.0
    for i in range(n - 1, -1, -1):
        weights[i] *= product
        product *= depth - depths[i, 0]
