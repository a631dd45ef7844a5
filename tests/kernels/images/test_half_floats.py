"""16-bit floats beside NumPy's, of both versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from cryoloom.kernels.images import half_floats as door
from cryoloom.kernels.images.half_floats import floats_from_halves, halves_from_floats

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16)


@pytest.fixture(params=["numba", "torch"], autouse=True)
def version(request, monkeypatch):
    """Each test runs with the loop in numba and with its twin."""
    if request.param == "torch":
        monkeypatch.setattr(door, "on_cpu", lambda *_: False)


def narrowed(values: np.ndarray) -> np.ndarray:
    halves = torch.empty(len(values), dtype=torch.float16)
    halves_from_floats(torch.from_numpy(np.ascontiguousarray(values, np.float32)), halves)
    return halves.numpy()


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
    values = torch.empty(len(EVERY_HALF))
    floats_from_halves(torch.from_numpy(EVERY_HALF.view(np.float16)), values)
    same_bits(values.numpy(), EVERY_HALF.view(np.float16).astype(np.float32))


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


def test_types_and_lengths_are_checked():
    with pytest.raises(TypeError, match=r"got torch.float32 and torch.float16"):
        halves_from_floats(torch.zeros(3, dtype=torch.float16), torch.zeros(3))
    with pytest.raises(ValueError, match="expected as many of both"):
        floats_from_halves(torch.zeros(3, dtype=torch.float16), torch.zeros(4))
