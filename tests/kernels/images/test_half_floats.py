from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.kernels.images.half_floats import floats_from_halves, halves_from_floats

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16)


def narrowed(values: np.ndarray) -> np.ndarray:
    halves = np.empty(len(values), np.uint16)
    halves_from_floats(np.ascontiguousarray(values, np.float32), halves)
    return halves.view(np.float16)


def as_numpy_rounds(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    """NaN may have any payload."""
    assert_array_equal(np.isnan(found), np.isnan(expected))
    word = np.dtype(f"u{found.itemsize}")
    numbers = ~np.isnan(expected)
    assert_array_equal(found.view(word)[numbers], expected.view(word)[numbers])


def test_every_half_is_the_number_it_stands_for():
    values = np.empty(len(EVERY_HALF), np.float32)
    floats_from_halves(EVERY_HALF, values)
    same_bits(values, EVERY_HALF.view(np.float16).astype(np.float32))


def test_ties_round_to_even_and_neighbours_to_the_nearest():
    halves = EVERY_HALF.view(np.float16)[:0x7C00].astype(np.float64)  # the positive, finite ones
    between = ((halves[1:] + halves[:-1]) / 2).astype(np.float32)
    for values in (halves.astype(np.float32), between):
        for one in (values, np.nextafter(values, np.float32(9e9)), np.nextafter(values, np.float32(-9e9))):
            same_bits(narrowed(one), as_numpy_rounds(one))
            same_bits(narrowed(-one), as_numpy_rounds(-one))


@pytest.mark.parametrize("n", [0, 1, 2047, 2048, 2049, 300_000])
def test_any_bits_and_any_number_of_them(n, rng):
    values = rng.integers(0, 1 << 32, n, dtype=np.uint32).view(np.float32)
    same_bits(narrowed(values), as_numpy_rounds(values))


def test_what_is_too_large_is_infinite():
    values = np.array([65504, 65519.99, 65520, 131072, 3e38, np.inf, -np.inf, np.nan], np.float32)
    same_bits(narrowed(values), as_numpy_rounds(values))
    assert np.isinf(narrowed(values[2:7])).all()
