"""Words of the vector language, each in a function of its own beside what it says."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cryoloom.kernels.vector.code import pointer
from cryoloom.kernels.vector.ir import (
    FLOAT,
    FLOATS,
    INDEX,
    Loop,
    interleave,
    load,
    multiply_add,
    splat,
    store,
)

EIGHT = ir.VectorType(FLOAT, 8)


@intrinsic
def _sum_of_squares(_typing, target, source, count, offset):
    """``target[0:8]`` becomes ``offset`` plus the squares of ``source`` in steps of 8."""

    def generate(context, builder, _signature, args):
        target, source, count, offset = args
        with Loop(builder, count, 8, [splat(builder, offset, EIGHT)]) as loop:
            values = load(builder, source, loop.index, EIGHT)
            loop.sums[0] = multiply_add(builder, values, values, loop.sums[0])
        store(builder, loop.sums[0], target, INDEX(0))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS, types.intp, types.float32), generate


@intrinsic
def _interleaved(_typing, target, one, other):
    def generate(context, builder, _signature, args):
        target, *sources = args
        vectors = [load(builder, source, INDEX(0), EIGHT) for source in sources]
        for half in (0, 1):
            store(builder, interleave(builder, *vectors, half), target, INDEX(8 * half))
        return context.get_dummy_value()

    return types.void(FLOATS, FLOATS, FLOATS), generate


@numba.njit
def _summed(target, source, count, offset):
    _sum_of_squares(pointer(target, 0), pointer(source, 0), count, offset)


@numba.njit
def _joined(target, one, other):
    _interleaved(pointer(target, 0), pointer(one, 0), pointer(other, 0))


@pytest.mark.parametrize("count", [8, 9, 16, 40])
def test_a_loop_runs_to_its_count_in_steps_and_carries_its_sums(rng, count):
    source = rng.normal(size=48).astype(np.float32)
    target = np.zeros(8, np.float32)
    _summed(target, source, count, np.float32(0.5))
    n_blocks = -(-count // 8)  # a step that begins below the count is done whole
    blocks = source[: 8 * n_blocks].reshape(n_blocks, 8).astype(np.float64)
    np.testing.assert_allclose(target, 0.5 + (blocks**2).sum(axis=0), rtol=1e-6)


def test_a_loop_runs_once_at_least(rng):
    source, target = rng.normal(size=8).astype(np.float32), np.zeros(8, np.float32)
    _summed(target, source, 0, np.float32(0))
    np.testing.assert_allclose(target, source**2, rtol=1e-6)


def test_two_vectors_alternate_from_their_lower_and_upper_halves():
    one, other = np.arange(8, dtype=np.float32), np.arange(10, 18, dtype=np.float32)
    target = np.zeros(16, np.float32)
    _joined(target, one, other)
    np.testing.assert_array_equal(target[0::2], one)
    np.testing.assert_array_equal(target[1::2], other)


def test_a_product_and_a_sum_are_rounded_once():
    """(1 + e)(1 - e) - 1 = -e^2, which is lost where the product is rounded first."""
    e = np.float32(2.0**-12)
    source = np.full(8, 1 + e, np.float32)
    target = np.zeros(8, np.float32)
    _summed(target, source, 8, np.float32(-1 - 2 * e))
    np.testing.assert_array_equal(target, np.full(8, e * e))
