"""One level of a Fourier transform of 16 complex rows side by side, as vector code.

A column of 32 floats holds sample i of all rows: 16 real parts, then 16 imaginary ones. Every number that a
fast Fourier transform turns by is then the same for a whole vector, and nothing is shuffled. Arithmetic of
the radices: Nussbaumer, Fast Fourier Transform and Convolution Algorithms (1982), 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from cryoloom.kernels.vector.ir import FLOAT, FLOATS, INDEX, ROWS, Loop, load, multiply_add, splat, store

__all__ = ["RADICES", "transform_groups"]

RADICES = (5, 4, 3, 2)
"""Factors of transform sizes (`good_fft_size`), and 4 for twice 2, which needs fewer operations."""

_HALF = ROWS // 2  # of the rows of a strip: the real parts; the others are the imaginary ones
_VECTOR = ir.VectorType(FLOAT, _HALF)
Complex = tuple[Any, Any]


@intrinsic
def transform_groups(
    _typing: Any,
    radix: Any,
    inverse: Any,
    turned: Any,
    address: Any,
    count: Any,
    leg: Any,
    step: Any,
    twiddles: Any,
) -> Any:
    """Transform ``count`` groups of ``radix`` columns, in place; at least one.

    Group j is the columns ``j step + p leg``, p below the radix, in floats from ``address``. Where it is
    ``turned``, column p of group j is multiplied by the complex number ``twiddles[j (radix - 1) + p - 1]``
    after the transform, or by its conjugate before the inverse one. Radices are those of RADICES.
    """

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        radix, inverse, turned, *groups = args
        after = builder.append_basic_block("transformed")
        kind = builder.add(builder.zext(inverse, INDEX), builder.mul(INDEX(2), builder.zext(turned, INDEX)))
        switch = builder.switch(builder.add(builder.mul(radix, INDEX(4)), kind), after)
        for size, is_turned, is_inverse in product(RADICES, (False, True), (False, True)):
            block = builder.append_basic_block(f"radix_{size}")
            switch.add_case(INDEX(4 * size + 2 * is_turned + is_inverse), block)
            builder.position_at_end(block)
            _groups(builder, size, is_inverse, is_turned, groups)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    integers = (types.intp,) * 3
    return types.void(types.intp, types.boolean, types.boolean, FLOATS, *integers, FLOATS), generate


def _groups(builder: Any, radix: int, inverse: bool, turned: bool, groups: Sequence[Any]) -> None:
    """The loop of `transform_groups` for one radix and way."""
    address, count, leg, step, twiddles = groups
    with Loop(builder, count, 1) as loop:
        places = [builder.mul(loop.index, step)]
        for _ in range(radix - 1):
            places.append(builder.add(places[-1], leg))
        values = [_column(builder, address, place) for place in places]
        first = builder.mul(loop.index, INDEX(2 * (radix - 1)))
        turns = [_factor(builder, twiddles, first, p, inverse) for p in range(radix - 1)] if turned else []
        if turned and inverse:
            values[1:] = [_product(builder, *pair) for pair in zip(values[1:], turns, strict=True)]
        values = _transformed(builder, values, inverse)
        if turned and not inverse:
            values[1:] = [_product(builder, *pair) for pair in zip(values[1:], turns, strict=True)]
        for value, place in zip(values, places, strict=True):
            for part in (0, 1):
                store(builder, value[part], address, builder.add(place, INDEX(part * _HALF)))


def _column(builder: Any, address: Any, place: Any) -> Complex:
    real = load(builder, address, place, _VECTOR)
    return real, load(builder, address, builder.add(place, INDEX(_HALF)), _VECTOR)


def _factor(builder: Any, twiddles: Any, first: Any, p: int, conjugate: bool) -> Complex:
    at = [builder.gep(twiddles, [builder.add(first, INDEX(2 * p + part))]) for part in (0, 1)]
    real, imaginary = (splat(builder, builder.load(address), _VECTOR) for address in at)
    return real, builder.fneg(imaginary) if conjugate else imaginary


def _product(builder: Any, x: Complex, y: Complex) -> Complex:
    real = multiply_add(builder, builder.fneg(x[1]), y[1], builder.fmul(x[0], y[0]))
    return real, multiply_add(builder, x[1], y[0], builder.fmul(x[0], y[1]))


def _add(builder: Any, x: Complex, y: Complex) -> Complex:
    return builder.fadd(x[0], y[0]), builder.fadd(x[1], y[1])


def _subtract(builder: Any, x: Complex, y: Complex) -> Complex:
    return builder.fsub(x[0], y[0]), builder.fsub(x[1], y[1])


def _scaled(builder: Any, factor: float, x: Complex, added: Complex | None = None) -> Complex:
    """``factor x``, and something added."""
    constant = ir.Constant(_VECTOR, [factor] * _HALF)
    if added is None:
        return builder.fmul(constant, x[0]), builder.fmul(constant, x[1])
    return multiply_add(builder, constant, x[0], added[0]), multiply_add(builder, constant, x[1], added[1])


def _transformed(builder: Any, x: list[Complex], inverse: bool) -> list[Complex]:
    """``y_p = sum_q x_q exp(-2 pi i p q / radix)``, or with +i, not scaled."""

    def pair(even: Complex, odd: Complex) -> tuple[Complex, Complex]:
        """``even - i odd`` and ``even + i odd``; the other way round for the inverse."""
        low = builder.fadd(even[0], odd[1]), builder.fsub(even[1], odd[0])
        high = builder.fsub(even[0], odd[1]), builder.fadd(even[1], odd[0])
        return (high, low) if inverse else (low, high)

    if len(x) == 2:
        return [_add(builder, x[0], x[1]), _subtract(builder, x[0], x[1])]
    if len(x) == 3:
        both = _add(builder, x[1], x[2])
        apart = _scaled(builder, math.sin(math.tau / 3), _subtract(builder, x[1], x[2]))
        return [_add(builder, x[0], both), *pair(_scaled(builder, -0.5, both, x[0]), apart)]
    if len(x) == 4:
        even, even_apart = _add(builder, x[0], x[2]), _subtract(builder, x[0], x[2])
        odd, odd_apart = _add(builder, x[1], x[3]), _subtract(builder, x[1], x[3])
        y1, y3 = pair(even_apart, odd_apart)
        return [_add(builder, even, odd), y1, _subtract(builder, even, odd), y3]
    cosines = [math.cos(math.tau * k / 5) for k in (1, 2)]
    sines = [math.sin(math.tau * k / 5) for k in (1, 2)]
    outer, inner = _add(builder, x[1], x[4]), _add(builder, x[2], x[3])
    outer_apart, inner_apart = _subtract(builder, x[1], x[4]), _subtract(builder, x[2], x[3])
    even_1 = _scaled(builder, cosines[1], inner, _scaled(builder, cosines[0], outer, x[0]))
    even_2 = _scaled(builder, cosines[0], inner, _scaled(builder, cosines[1], outer, x[0]))
    odd_1 = _scaled(builder, sines[1], inner_apart, _scaled(builder, sines[0], outer_apart))
    odd_2 = _scaled(builder, -sines[0], inner_apart, _scaled(builder, sines[1], outer_apart))
    y1, y4 = pair(even_1, odd_1)
    y2, y3 = pair(even_2, odd_2)
    return [_add(builder, x[0], _add(builder, outer, inner)), y1, y2, y3, y4]
