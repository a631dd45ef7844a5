"""Innermost loops in vector code, beside the sums they stand for."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from cryoloom.kernels.vector.code import (
    ROWS,
    TILT_BLOCK,
    interpolate_two,
    mix_columns,
    new_columns,
    pointer,
    sum_tilts,
    transpose_8x8,
)


@numba.njit
def _transposed(target, source):
    transpose_8x8(pointer(target, 3), target.shape[1], pointer(source, 5), source.shape[1])


@numba.njit
def _summed(images, lines, z, last, offsets, weights, sums):
    sum_tilts(images, lines, z, last, offsets, weights, pointer(sums, 0))


@numba.njit
def _mixed(target, source, weights):
    n, n_columns, _ = source.shape
    mix_columns(
        pointer(target, 0), pointer(source, 0), n_columns * ROWS, pointer(weights, 0), n_columns, n, n_columns
    )


@numba.njit
def _interpolated(target, source, weights):
    interpolate_two(pointer(target, 0), pointer(source, 0), pointer(weights, 0), len(weights))


def test_blocks_of_8_x_8_are_transposed_in_place_of_others(rng):
    source = rng.normal(size=(8, 20)).astype(np.float32)
    target = np.zeros((8, 17), np.float32)
    _transposed(target, source)
    np.testing.assert_array_equal(target[:, 3:11], source[:, 5:13].T)
    assert not target[:, 11:].any()


def test_a_voxel_is_the_sum_over_tilts_of_two_columns(rng):
    n_tilts, n_columns = 5, 12
    images = rng.normal(size=(n_tilts, n_columns, ROWS)).astype(np.float32)
    lines = [
        np.zeros(TILT_BLOCK, np.float32),
        np.zeros(TILT_BLOCK, np.float32),
        np.zeros(TILT_BLOCK, np.int32),
    ]
    # The first tilt sees the voxel before its first column, the last one behind its last.
    lines[0][:n_tilts] = [-3.0, 2.25, 4.5, 9.0, 30.0]
    lines[1][:n_tilts] = [0.1, 0.5, -0.25, 0.0, 1.0]
    lines[2][:n_tilts] = np.arange(n_tilts) * n_columns * ROWS
    offsets, weights = np.zeros(TILT_BLOCK, np.int32), np.zeros(TILT_BLOCK, np.float32)
    sums = np.full(ROWS, np.nan, np.float32)
    last = n_columns - 1.001
    _summed(images, tuple(lines), np.float32(3.0), np.float32(last), offsets, weights, sums)
    expected = np.zeros(ROWS)
    for image, u in zip(images, np.clip(lines[0] + 3.0 * lines[1], 0, last)[:n_tilts], strict=True):
        left = int(u)
        expected += (1 - (u - left)) * image[left] + (u - left) * image[left + 1]
    np.testing.assert_allclose(sums, expected, atol=1e-4)


@pytest.mark.parametrize("n", [1, 4])
def test_columns_are_mixed_with_their_weights(rng, n):
    source = rng.normal(size=(n, 6, ROWS)).astype(np.float32)
    weights = rng.normal(size=(n, 6)).astype(np.float32)
    target = np.full((6, ROWS), np.nan, np.float32)
    _mixed(target, source, weights)
    np.testing.assert_allclose(target, np.einsum("ncy,nc->cy", source, weights), atol=1e-5)


def test_two_columns_between_samples_are_sums_of_their_neighbours(rng):
    weights = rng.normal(size=6).astype(np.float32)
    source = rng.normal(size=(7, ROWS)).astype(np.float32)
    target = np.zeros((3, ROWS), np.float32)
    _interpolated(target, source, weights)
    np.testing.assert_allclose(target[0], weights @ source[:6], atol=1e-5)
    np.testing.assert_allclose(target[2], weights @ source[1:], atol=1e-5)
    assert not target[1].any()


def test_columns_begin_on_a_line_of_the_cache():
    columns = new_columns(5)
    assert columns.shape == (5, ROWS)
    assert columns.ctypes.data % 64 == 0
