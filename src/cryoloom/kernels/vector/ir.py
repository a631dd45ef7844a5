"""Words of LLVM's portable vector language that the innermost loops are written in: see `vector_code`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

__all__ = [
    "FLOAT",
    "FLOATS",
    "INDEX",
    "INT32",
    "INTS",
    "ROWS",
    "Loop",
    "interleave",
    "load",
    "multiply_add",
    "splat",
    "store",
]

ROWS = 32
"""Rows of a strip."""
FLOAT, INT32, INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = types.CPointer(types.float32), types.CPointer(types.int32)
"""Addresses of elements of arrays, which `vector_code.pointer` gives."""


class Loop:
    """``for index in range(0, count, step)`` around the block, at least once, carrying ``sums``."""

    def __init__(self, builder: Any, count: Any, step: int, sums: Sequence[Any] = ()) -> None:
        self._builder, self._count, self._step = builder, count, step
        self.sums = list(sums)
        """Inside the block: to be replaced by their new values. After it: the final ones."""

    def __enter__(self) -> Loop:
        builder, before = self._builder, self._builder.block
        self._block, self._after = builder.append_basic_block("loop"), builder.append_basic_block("after")
        builder.branch(self._block)
        builder.position_at_end(self._block)
        self.index = builder.phi(self._count.type)
        self.index.add_incoming(ir.Constant(self._count.type, 0), before)
        self._carried = []
        for start in self.sums:
            self._carried.append(builder.phi(start.type))
            self._carried[-1].add_incoming(start, before)
        self.sums = list(self._carried)
        return self

    def __exit__(self, *_: object) -> None:
        builder = self._builder
        following = builder.add(self.index, ir.Constant(self._count.type, self._step))
        self.index.add_incoming(following, builder.block)
        for carried, value in zip(self._carried, self.sums, strict=True):
            carried.add_incoming(value, builder.block)
        builder.cbranch(builder.icmp_signed("<", following, self._count), self._block, self._after)
        builder.position_at_end(self._after)


def multiply_add(builder: Any, one: Any, other: Any, added: Any) -> Any:
    """``one * other + added`` of vectors, rounded once."""
    vector = added.type
    kind = ir.FunctionType(vector, [vector] * 3)
    fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{vector.count}f32")
    return builder.call(fused, [one, other, added])


def interleave(builder: Any, one: Any, other: Any, half: int) -> Any:
    """The lower or upper half of both vectors of 8, alternating."""
    order = [lane + half * 4 + source * 8 for lane in range(4) for source in (0, 1)]
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(INT32, 8), order))


def splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector of equal elements."""
    undefined = ir.Constant(vector, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(INT32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(builder.insert_element(undefined, value, INT32(0)), undefined, lanes)


def load(builder: Any, start: Any, offset: Any, vector: Any) -> Any:
    """A vector from elements ``offset`` and on."""
    address = builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
    return builder.load(address, align=4)


def store(builder: Any, value: Any, start: Any, offset: Any) -> None:
    """Elements ``offset`` and on from a vector."""
    address = builder.bitcast(builder.gep(start, [offset]), value.type.as_pointer())
    builder.store(value, address, align=4)
