"""Innermost loops of projection and back-projection, written as vector code in LLVM's portable form.

A strip of a tomogram has 32 rows along the tilt axis, contiguous in memory; sums are over vectors of them.
Numba's own vectoriser cannot keep 32 running sums in registers over a loop of tilts, which is what counts.
``<16 x float>`` is one AVX-512 register, two of AVX and four on NEON. Memory that does not begin on a line of
the caches is read at half the speed: torch's does, NumPy's need not.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from cryoloom.kernels.vector.ir import (
    FLOAT,
    FLOATS,
    INDEX,
    INT32,
    INTS,
    ROWS,
    Loop,
    interleave,
    load,
    multiply_add,
    splat,
    store,
)

__all__ = [
    "HEIGHT_BLOCK",
    "ROWS",
    "TILT_BLOCK",
    "add_rays",
    "interleave_parts",
    "interpolate_two",
    "join_rows",
    "locate_voxels",
    "mix_columns",
    "new_columns",
    "pointer",
    "prefetch_to_write",
    "separate_parts",
    "separate_rows",
    "sum_tilts",
    "transpose_8x8",
]

TILT_BLOCK = 16
"""Tilts located at a time; arrays for `locate_columns` are padded to a multiple of it."""
HEIGHT_BLOCK = 16
"""Heights z located at a time by `locate_voxels`."""


def _lanes() -> int:
    return 16 if llvmlite.binding.get_host_cpu_features().get("avx512f", False) else 8


LANES = _lanes()
"""Floats of one register on this machine."""

_FLOAT_ROW = ir.VectorType(FLOAT, LANES)


@intrinsic
def pointer(_typing: Any, array: Any, index: Any) -> Any:
    """Address of the flat element ``index`` of a C-contiguous array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.gep(data, [args[1]])

    return types.CPointer(array.dtype)(array, types.intp), generate


@intrinsic
def prefetch_to_write(_typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which is going to be written; any address may be given."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # For writing, into the second-level cache, data.
        builder.call(ask, [builder.bitcast(args[0], byte), flag(1), flag(2), flag(1)])
        return context.get_dummy_value()

    return types.void(FLOATS), generate


@intrinsic
def locate_columns(
    _typing: Any,
    at_z_0: Any,
    per_z: Any,
    first: Any,
    z: Any,
    last: Any,
    offsets: Any,
    weights: Any,
    n_tilts: Any,
) -> Any:
    """Offsets of the columns a voxel sees, and the weights of their right neighbours.

    ``u_t = clamp(at_z_0[t] + per_z[t] z, 0, last)``, ``offsets[t] = first[t] + ROWS floor(u_t)`` and
    ``weights[t] = u_t - floor(u_t)`` for t below ``n_tilts``, which is a multiple of TILT_BLOCK.
    """

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        at_z_0, per_z, first, z, last, offsets, weights, count = args
        floats, ints = ir.VectorType(FLOAT, TILT_BLOCK), ir.VectorType(INT32, TILT_BLOCK)
        heights, lasts = splat(builder, z, floats), splat(builder, last, floats)
        zeros = ir.Constant(floats, [0.0] * TILT_BLOCK)
        with Loop(builder, count, TILT_BLOCK) as loop:
            tilt = loop.index
            u = multiply_add(
                builder, load(builder, per_z, tilt, floats), heights, load(builder, at_z_0, tilt, floats)
            )
            u = builder.select(builder.fcmp_ordered(">", u, zeros), u, zeros)
            u = builder.select(builder.fcmp_ordered("<", u, lasts), u, lasts)
            column = builder.fptosi(u, ints)
            row = builder.mul(column, ir.Constant(ints, [ROWS] * TILT_BLOCK))
            store(builder, builder.add(load(builder, first, tilt, ints), row), offsets, tilt)
            store(builder, builder.fsub(u, builder.sitofp(column, floats)), weights, tilt)
        return _context.get_dummy_value()

    signature = types.void(FLOATS, FLOATS, INTS, types.float32, types.float32, INTS, FLOATS, types.intp)
    return signature, generate


@intrinsic
def sum_columns(_typing: Any, sums: Any, images: Any, offsets: Any, weights: Any, n_tilts: Any) -> Any:
    """``sums[y] = sum_t (1 - w_t) images[o_t + y] + w_t images[o_t + ROWS + y]`` for the 32 rows y.

    Left and right columns are summed apart: a sum that waits for one multiplication instead of two.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, pixels, offset_of, weight_of, count = args
        n_registers = ROWS // LANES
        zero = ir.Constant(_FLOAT_ROW, [0.0] * LANES)
        with Loop(builder, count, 1, sums=[zero] * (2 * n_registers)) as loop:
            right = builder.load(builder.gep(weight_of, [loop.index]))
            left = builder.fsub(ir.Constant(FLOAT, 1.0), right)
            offset = builder.sext(builder.load(builder.gep(offset_of, [loop.index])), INDEX)
            for side, weight in enumerate((left, right)):
                factor = splat(builder, weight, _FLOAT_ROW)
                for i in range(n_registers):
                    at = builder.add(offset, INDEX(side * ROWS + i * LANES))
                    which = side * n_registers + i
                    column = load(builder, pixels, at, _FLOAT_ROW)
                    loop.sums[which] = multiply_add(builder, column, factor, loop.sums[which])
        for i in range(n_registers):
            total = builder.fadd(loop.sums[i], loop.sums[n_registers + i])
            store(builder, total, target, INDEX(i * LANES))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS, INTS, FLOATS, types.intp), generate


@numba.njit(error_model="numpy", nogil=True, cache=True)
def new_columns(n: int) -> Any:
    """An array ``(n, 32)`` float32 of anything that begins on a line of the caches."""
    memory = np.empty(n * ROWS + 16, np.float32)
    begin = -memory.ctypes.data % 64 // 4
    return memory[begin : begin + n * ROWS].reshape((n, ROWS))


@numba.njit(inline="always")
def sum_tilts(images: Any, lines: Any, z: Any, last: Any, offsets: Any, weights: Any, target: Any) -> None:
    """Sum of all tilts for a line of 32 voxels at height ``z``, stored to the address ``target``.

    In projection heights take the place of tilts, and image columns that of heights.

    images  : (tilt, column, 32). lines : ``at_z_0``, ``per_z`` and ``first`` of `locate_columns`.
    offsets, weights : to be overwritten, as long as the lines.
    """
    at_z_0, per_z, first = lines
    locate_columns(
        pointer(at_z_0, 0),
        pointer(per_z, 0),
        pointer(first, 0),
        z,
        last,
        pointer(offsets, 0),
        pointer(weights, 0),
        len(per_z),
    )
    sum_columns(target, pointer(images, 0), pointer(offsets, 0), pointer(weights, 0), len(images))


@intrinsic
def locate_voxels(
    _typing: Any, column: Any, geometry: Any, n_taps: Any, n_x: Any, first_z: Any, offsets: Any, weights: Any
) -> Any:
    """First voxel of column ``c`` at HEIGHT_BLOCK heights, and the weights of all its taps.

    geometry : address of (u0, ux, uz, 1 / ux). At height z the taps are the voxels ``x = floor((c - 1 - u0 -
    uz z) / ux) + 1`` and on, as many as ``n_taps``, which is at most ``n_x``, moved to lie inside the volume.
    They share ``1 - |u0 + ux x + uz z - c|``, not below 0. ``offsets (height,)`` are those of rows in a
    volume ``(z, x, row)`` that begins at ``first_z``; ``weights (tap, height)``.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        column, geometry, n_taps, n_x, first_z, offsets, weights = args
        floats, ints = ir.VectorType(FLOAT, HEIGHT_BLOCK), ir.VectorType(INT32, HEIGHT_BLOCK)
        zeros, ones = (ir.Constant(floats, [value] * HEIGHT_BLOCK) for value in (0.0, 1.0))

        def each(value: Any) -> Any:
            return splat(builder, value, floats)

        u0, ux, uz, per_ux = (each(builder.load(builder.gep(geometry, [INDEX(i)]))) for i in range(4))
        counted = ir.Constant(floats, [float(i) for i in range(HEIGHT_BLOCK)])
        at_z = multiply_add(builder, uz, builder.fadd(each(first_z), counted), u0)
        c = each(column)
        begin = builder.fmul(builder.fsub(builder.fsub(c, ones), at_z), per_ux)
        floor = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(floats, [floats]), f"llvm.floor.v{HEIGHT_BLOCK}f32"
        )
        x = builder.fadd(builder.call(floor, [begin]), ones)
        last = each(builder.sitofp(builder.sub(n_x, n_taps), FLOAT))
        x = builder.select(builder.fcmp_ordered(">", x, zeros), x, zeros)
        x = builder.select(builder.fcmp_ordered("<", x, last), x, last)
        lines = builder.mul(builder.fptosi(counted, ints), splat(builder, builder.trunc(n_x, INT32), ints))
        offset = builder.mul(
            builder.add(lines, builder.fptosi(x, ints)), ir.Constant(ints, [ROWS] * HEIGHT_BLOCK)
        )
        store(builder, offset, offsets, INDEX(0))
        from_c = builder.fsub(at_z, c)
        with Loop(builder, n_taps, 1) as loop:
            here = builder.fadd(x, each(builder.sitofp(loop.index, FLOAT)))
            apart = multiply_add(builder, ux, here, from_c)
            apart = builder.select(builder.fcmp_ordered("<", apart, zeros), builder.fsub(zeros, apart), apart)
            weight = builder.fsub(ones, apart)
            weight = builder.select(builder.fcmp_ordered(">", weight, zeros), weight, zeros)
            store(builder, weight, weights, builder.mul(loop.index, INDEX(HEIGHT_BLOCK)))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(types.float32, FLOATS, integer, integer, types.float32, INTS, FLOATS), generate


@intrinsic
def add_rays(
    _typing: Any, sums: Any, source: Any, offsets: Any, weights: Any, n_heights: Any, n_taps: Any
) -> Any:
    """``sums[y] += sum_(z, tap) weights[tap, z] source[offsets[z] + 32 tap + y]`` for the 32 rows y.

    As `locate_voxels` left them: weights are ``(tap, HEIGHT_BLOCK)``.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, pixels, offset_of, weight_of, n_heights, n_taps = args
        n_registers = ROWS // LANES
        zero = ir.Constant(_FLOAT_ROW, [0.0] * LANES)

        def add(first_tap: Any, n_here: int) -> None:
            """A few taps at a time, whose sums stay in registers."""
            with Loop(builder, n_heights, 1, sums=[zero] * (n_here * n_registers)) as loop:
                offset = builder.sext(builder.load(builder.gep(offset_of, [loop.index])), INDEX)
                for tap in range(n_here):
                    which = builder.add(first_tap, INDEX(tap))
                    share = builder.add(builder.mul(which, INDEX(HEIGHT_BLOCK)), loop.index)
                    factor = splat(builder, builder.load(builder.gep(weight_of, [share])), _FLOAT_ROW)
                    voxel = builder.add(offset, builder.mul(which, INDEX(ROWS)))
                    for i in range(n_registers):
                        at = tap * n_registers + i
                        run = load(builder, pixels, builder.add(voxel, INDEX(i * LANES)), _FLOAT_ROW)
                        loop.sums[at] = multiply_add(builder, run, factor, loop.sums[at])
            for i in range(n_registers):
                total = load(builder, target, INDEX(i * LANES), _FLOAT_ROW)
                for tap in range(n_here):
                    total = builder.fadd(total, loop.sums[tap * n_registers + i])
                store(builder, total, target, INDEX(i * LANES))

        after = builder.append_basic_block("added")
        one_by_one = builder.append_basic_block("one_by_one")
        switch = builder.switch(n_taps, one_by_one)
        for n_here in (2, 3, 4):
            block = builder.append_basic_block(f"taps_{n_here}")
            switch.add_case(INDEX(n_here), block)
            builder.position_at_end(block)
            add(INDEX(0), n_here)
            builder.branch(after)
        builder.position_at_end(one_by_one)
        with Loop(builder, n_taps, 1) as taps:
            add(taps.index, 1)
        builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    integer = types.intp
    return types.void(FLOATS, FLOATS, INTS, FLOATS, integer, integer), generate


@intrinsic
def mix_columns(
    _typing: Any,
    target: Any,
    source: Any,
    source_step: Any,
    weights: Any,
    weight_step: Any,
    n: Any,
    count: Any,
) -> Any:
    """``target[c, y] = sum_i weights[i weight_step + c] source[i source_step + 32 c + y]`` for n images i.

    For ``count`` columns c, at least one, of the 32 rows y.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, source, source_step, weights, weight_step, n_images, count = args
        n_registers = ROWS // LANES
        zero = ir.Constant(_FLOAT_ROW, [0.0] * LANES)
        with Loop(builder, count, 1) as columns:
            begin = builder.mul(columns.index, INDEX(ROWS))
            with Loop(builder, n_images, 1, sums=[zero] * n_registers) as images:
                share = builder.add(builder.mul(images.index, weight_step), columns.index)
                weight = splat(builder, builder.load(builder.gep(weights, [share])), _FLOAT_ROW)
                at = builder.add(builder.mul(images.index, source_step), begin)
                for i in range(n_registers):
                    column = load(builder, source, builder.add(at, INDEX(i * LANES)), _FLOAT_ROW)
                    images.sums[i] = multiply_add(builder, column, weight, images.sums[i])
            for i in range(n_registers):
                store(builder, images.sums[i], target, builder.add(begin, INDEX(i * LANES)))
        return context.get_dummy_value()

    integer = types.intp
    return types.void(FLOATS, FLOATS, integer, FLOATS, integer, integer, integer), generate


@intrinsic
def interpolate_two(_typing: Any, target: Any, source: Any, weights: Any, n: Any) -> Any:
    """``target[2 j, y] = sum_i weights[i] source[i + j, y]`` for j = 0 and 1 and the 32 rows y; n is even."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        target, source, weight_of, count = args
        n_registers = ROWS // LANES
        zero = ir.Constant(_FLOAT_ROW, [0.0] * LANES)
        with Loop(builder, count, 2, sums=[zero] * (4 * n_registers)) as loop:
            at = builder.mul(loop.index, INDEX(ROWS))
            for i in range(n_registers):
                columns = [
                    load(builder, source, builder.add(at, INDEX(c * ROWS + i * LANES)), _FLOAT_ROW)
                    for c in range(3)
                ]
                for tap in (0, 1):
                    place = builder.add(loop.index, INDEX(tap))
                    weight = splat(builder, builder.load(builder.gep(weight_of, [place])), _FLOAT_ROW)
                    for j in (0, 1):
                        which = (2 * tap + j) * n_registers + i
                        loop.sums[which] = multiply_add(builder, columns[tap + j], weight, loop.sums[which])
        for j in (0, 1):
            for i in range(n_registers):
                even, odd = (loop.sums[(2 * tap + j) * n_registers + i] for tap in (0, 1))
                store(builder, builder.fadd(even, odd), target, INDEX(2 * j * ROWS + i * LANES))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS, FLOATS, types.intp), generate


@intrinsic
def transpose_8x8(_typing: Any, target: Any, target_step: Any, source: Any, source_step: Any) -> Any:
    """``target[i * target_step + j] = source[j * source_step + i]`` for i and j from 0 to 7."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, to_step, from_, from_step = args
        eight = ir.VectorType(FLOAT, 8)
        rows = [load(builder, from_, builder.mul(from_step, INDEX(j)), eight) for j in range(8)]
        # Three rounds of interleaving rows i and i + 4 turn the 8 x 8 block: bit rotation of the index.
        for _ in range(3):
            pairs = [(rows[i], rows[i + 4]) for i in range(4)]
            rows = [interleave(builder, *pair, half) for pair in pairs for half in (0, 1)]
        for i in range(8):
            store(builder, rows[i], to, builder.mul(to_step, INDEX(i)))
        return context.get_dummy_value()

    return types.void(FLOATS, types.intp, FLOATS, types.intp), generate


@intrinsic
def separate_rows(_typing: Any, target: Any, step: Any, one: Any, mirrored: Any) -> Any:
    """Two real rows' spectra at a frequency, from that of the complex row they were parts of, 16 at a time.

    one, mirrored : 16 real parts and 16 imaginary ones at the frequency and at its negative. To ``target`` go
    the real parts of the first row's spectrum, then, ``step`` elements apart each, its imaginary parts, and
    real and imaginary parts of the second row's.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, step, here, there = args
        half_row = ir.VectorType(FLOAT, ROWS // 2)
        (x, y), (u, v) = (
            [load(builder, at, INDEX(lane), half_row) for lane in (0, ROWS // 2)] for at in (here, there)
        )
        parts = (builder.fadd(x, u), builder.fsub(y, v), builder.fadd(y, v), builder.fsub(u, x))
        half = ir.Constant(half_row, [0.5] * (ROWS // 2))
        for i, part in enumerate(parts):
            store(builder, builder.fmul(part, half), to, builder.mul(step, INDEX(i)))
        return context.get_dummy_value()

    return types.void(FLOATS, types.intp, FLOATS, FLOATS), generate


@intrinsic
def interleave_parts(_typing: Any, target: Any, source: Any) -> Any:
    """16 complex numbers in a row at ``target``, from 16 real parts and then 16 imaginary ones."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, from_ = args
        half_row = ir.VectorType(FLOAT, ROWS // 2)
        real, imaginary = (load(builder, from_, INDEX(lane), half_row) for lane in (0, ROWS // 2))
        order = [lane + part * (ROWS // 2) for lane in range(ROWS // 2) for part in (0, 1)]
        both = builder.shuffle_vector(real, imaginary, ir.Constant(ir.VectorType(INT32, ROWS), order))
        store(builder, both, to, INDEX(0))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS), generate


@intrinsic
def join_rows(_typing: Any, one: Any, mirrored: Any, source: Any, step: Any) -> Any:
    """The spectrum of the complex row that has two real rows as parts, which `separate_rows` took apart."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        here, there, from_, step = args
        half_row = ir.VectorType(FLOAT, ROWS // 2)
        x, y, u, v = (load(builder, from_, builder.mul(step, INDEX(i)), half_row) for i in range(4))
        store(builder, builder.fsub(x, v), here, INDEX(0))
        store(builder, builder.fadd(y, u), here, INDEX(ROWS // 2))
        store(builder, builder.fadd(x, v), there, INDEX(0))
        store(builder, builder.fsub(u, y), there, INDEX(ROWS // 2))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS, FLOATS, types.intp), generate


@intrinsic
def separate_parts(_typing: Any, target: Any, source: Any) -> Any:
    """16 real parts and then 16 imaginary ones at ``target``, from 16 complex numbers in a row."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        to, from_ = args
        both = load(builder, from_, INDEX(0), ir.VectorType(FLOAT, ROWS))
        undefined = ir.Constant(both.type, ir.Undefined)
        for part in (0, 1):
            order = ir.Constant(ir.VectorType(INT32, ROWS // 2), list(range(part, ROWS, 2)))
            store(builder, builder.shuffle_vector(both, undefined, order), to, INDEX(part * (ROWS // 2)))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS), generate
