"""Back-projection of one strip on the CPU: numba, with the innermost sum written as vector code.

What limits it: an update costs two loads and two fused multiply-adds per eight rows, all from the first-level
cache if the voxels of one x are visited along z, where a column is used again about 1 / sin(tilt) times. The
running sum over all tilts stays in four registers, so the volume is touched once, not once per tilt.
`benchmarks/backprojection_speed.py` measures it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

__all__ = ["back_project_numba", "back_project_oblique_numba"]

Floats = NDArray[np.float32]

LANES = 8
ROWS = 32
X_TILE = 16
"""Voxels along x summed before they are transposed to rows: one cache line of the volume."""
Z_BLOCK = 32
"""Voxels along z per job: with X_TILE and ROWS 64 kB of sums, which stay in the second-level cache."""


def back_project_numba(images: Floats, columns: Floats, volume: Floats) -> None:
    """See `cryoloom.kernels.backproject.back_project`; the same on NumPy arrays."""
    _back_project_strip(images, columns, volume)


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def _back_project_strip(images: Floats, columns: Floats, volume: Floats) -> None:
    n_tilts, n_columns, _ = images.shape
    n_z, _, n_x = volume.shape
    n_x_tiles = (n_x + X_TILE - 1) // X_TILE
    n_z_blocks = (n_z + Z_BLOCK - 1) // Z_BLOCK
    u0, ux, uz = columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy()
    first = (np.arange(n_tilts) * (n_columns * ROWS)).astype(np.int32)
    last = np.float32(n_columns - 1.001)  # the left one of the last two columns
    for z_block in prange(n_z_blocks):
        offsets = np.empty(n_tilts, np.int32)
        weights = np.empty(n_tilts, np.float32)
        sums = np.empty((X_TILE, Z_BLOCK, ROWS), np.float32)
        for x_tile in range(n_x_tiles):
            x_start, z_start = x_tile * X_TILE, z_block * Z_BLOCK
            x_stop, z_stop = min(n_x, x_start + X_TILE), min(n_z, z_start + Z_BLOCK)
            for x in range(x_start, x_stop):
                for z in range(z_start, z_stop):
                    for t in range(n_tilts):
                        u = u0[t] + np.float32(x) * ux[t] + np.float32(z) * uz[t]
                        u = min(max(u, np.float32(0.0)), last)
                        column = np.int32(u)
                        weights[t] = u - np.float32(column)
                        offsets[t] = first[t] + column * np.int32(ROWS)
                    _sum_columns(
                        _pointer(sums, ((x - x_start) * Z_BLOCK + z - z_start) * ROWS),
                        _pointer(images, 0),
                        _pointer(offsets, 0),
                        _pointer(weights, 0),
                        n_tilts,
                    )
            _store_rows(sums, volume, x_start, x_stop, z_start, z_stop)


@numba.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)
def _store_rows(sums: Floats, volume: Floats, x_start: int, x_stop: int, z_start: int, z_stop: int) -> None:
    """Transpose a tile of sums ``(x, z, y)`` into rows of the volume ``(z, y, x)``."""
    n_y, n_x = volume.shape[1], volume.shape[2]
    whole = x_stop - x_start == X_TILE and n_y == ROWS
    for z in range(z_start, z_stop):
        if whole:
            for y in range(0, ROWS, LANES):
                for x in range(0, X_TILE, LANES):
                    _transpose_8x8(
                        _pointer(volume, (z * n_y + y) * n_x + x_start + x),
                        n_x,
                        _pointer(sums, (x * Z_BLOCK + z - z_start) * ROWS + y),
                        Z_BLOCK * ROWS,
                    )
        else:
            for y in range(n_y):
                for x in range(x_start, x_stop):
                    volume[z, y, x] = sums[x - x_start, z - z_start, y]


@numba.njit(parallel=True, fastmath=True, error_model="numpy", nogil=True, cache=True)
def back_project_oblique_numba(images: Floats, columns: Floats, rows: Floats, volume: Floats) -> None:
    """See `cryoloom.kernels.backproject.back_project_oblique`; the same on NumPy arrays."""
    n_tilts, n_columns, n_rows = images.shape
    n_z, n_y, n_x = volume.shape
    last = np.float32(n_columns - 1.001)
    for z in prange(n_z):
        sums = np.empty(n_y, np.float32)
        for x in range(n_x):
            sums[:] = 0
            for t in range(n_tilts):
                u = columns[t, 0] + np.float32(x) * columns[t, 1] + np.float32(z) * columns[t, 2]
                u = min(max(u, np.float32(0.0)), last)
                column = int(u)
                right = u - np.float32(column)
                v = rows[t, 0] + np.float32(z) * rows[t, 1]
                row = int(np.floor(v))
                above = v - np.float32(row)
                for y in range(max(0, -row), min(n_y, n_rows - 1 - row)):
                    low = (np.float32(1) - right) * images[t, column, y + row]
                    low += right * images[t, column + 1, y + row]
                    high = (np.float32(1) - right) * images[t, column, y + row + 1]
                    high += right * images[t, column + 1, y + row + 1]
                    sums[y] += (np.float32(1) - above) * low + above * high
            for y in range(n_y):
                volume[z, y, x] = sums[y]


# The rest writes vector instructions in LLVM's portable form: <8 x float> is one AVX register, two on NEON.
# Numba's own vectoriser cannot keep a sum of 32 rows in registers over a loop of tilts, which is what counts.

_FLOAT, _INDEX = ir.FloatType(), ir.IntType(64)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_POINTER, _POINTER_INT32 = types.CPointer(types.float32), types.CPointer(types.int32)


@intrinsic
def _pointer(_typing: Any, array: Any, index: Any) -> Any:
    """Address of the flat element ``index`` of a C-contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), generate


@intrinsic
def _sum_columns(_typing: Any, sums: Any, images: Any, offsets: Any, weights: Any, n_tilts: Any) -> Any:
    """``sums[y] = sum_t (1 - w_t) images[o_t + y] + w_t images[o_t + ROWS + y]`` for the 32 rows y."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, pixels, offset_of, weight_of, count = args
        multiply_add = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR] * 3), f"llvm.fma.v{LANES}f32"
        )
        before = builder.block
        loop, after = builder.append_basic_block("tilts"), builder.append_basic_block("tilts.done")
        builder.branch(loop)
        builder.position_at_end(loop)
        tilt = builder.phi(count.type)
        tilt.add_incoming(ir.Constant(count.type, 0), before)
        running = [builder.phi(_VECTOR) for _ in range(ROWS // LANES)]
        right = builder.load(builder.gep(weight_of, [tilt]))
        left = builder.fsub(ir.Constant(_FLOAT, 1.0), right)
        base = builder.gep(pixels, [builder.sext(builder.load(builder.gep(offset_of, [tilt])), _INDEX)])
        for i, total in enumerate(running):
            total.add_incoming(ir.Constant(_VECTOR, [0.0] * LANES), before)
            added = builder.call(
                multiply_add, [_load(builder, base, i * LANES), _splat(builder, left), total]
            )
            next_column = _load(builder, base, ROWS + i * LANES)
            total.add_incoming(builder.call(multiply_add, [next_column, _splat(builder, right), added]), loop)
        next_tilt = builder.add(tilt, ir.Constant(count.type, 1))
        tilt.add_incoming(next_tilt, loop)
        builder.cbranch(builder.icmp_signed("<", next_tilt, count), loop, after)
        builder.position_at_end(after)
        for i, total in enumerate(running):
            _store(builder, dict((block, value) for value, block in total.incomings)[loop], target, i * LANES)
        return context.get_dummy_value()

    return types.void(_POINTER, _POINTER, _POINTER_INT32, _POINTER, types.intp), generate


@intrinsic
def _transpose_8x8(_typing: Any, target: Any, target_step: Any, source: Any, source_step: Any) -> Any:
    """``target[i * target_step + j] = source[j * source_step + i]`` for i and j from 0 to 7."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, to_step, from_, from_step = args
        rows = []
        for j in range(LANES):
            start = builder.mul(from_step, ir.Constant(from_step.type, j))
            rows.append(_load(builder, builder.gep(from_, [start]), 0))
        # Three rounds of interleaving rows i and i + 4 turn the 8 x 8 block: bit rotation of the index.
        for _ in range(3):
            pairs = [(rows[i], rows[i + 4]) for i in range(4)]
            rows = [_interleave(builder, *pair, half) for pair in pairs for half in (0, 1)]
        for i in range(LANES):
            start = builder.mul(to_step, ir.Constant(to_step.type, i))
            _store(builder, rows[i], builder.gep(to, [start]), 0)
        return context.get_dummy_value()

    return types.void(_POINTER, types.intp, _POINTER, types.intp), generate


def _interleave(builder: Any, one: Any, other: Any, half: int) -> Any:
    """The lower or upper half of both vectors, alternating."""
    order = [lane + half * LANES // 2 + source * LANES for lane in range(LANES // 2) for source in (0, 1)]
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(ir.IntType(32), LANES), order))


def _splat(builder: Any, value: Any) -> Any:
    undefined, zero = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)(0)
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, value, zero), undefined, lanes)


def _vector_at(builder: Any, pointer: Any, offset: int) -> Any:
    return builder.bitcast(builder.gep(pointer, [_INDEX(offset)]), _VECTOR.as_pointer())


def _load(builder: Any, pointer: Any, offset: int) -> Any:
    return builder.load(_vector_at(builder, pointer, offset), align=4)


def _store(builder: Any, vector: Any, pointer: Any, offset: int) -> None:
    builder.store(vector, _vector_at(builder, pointer, offset), align=4)
