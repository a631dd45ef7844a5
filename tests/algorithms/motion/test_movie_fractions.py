"""Which raw frames make a fraction, and how they are read."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
from cryoloom.algorithms.motion.movie_fractions import (
    ReadAhead,
    fraction_edges,
    frames_in_use,
    frames_per_fraction,
    n_fractions,
    read_fractions,
    without_dark,
)
from cryoloom.errors import DataUnfitError
from cryoloom.model import Movie
from makers.made_series import make_series

TIFF = Movie(Path("a.tif"), 10, (4, 6))
EER = Movie(Path("a.eer"), 400, (4, 6))


class Frames:
    """Frame i is i everywhere."""

    n_frames, shape_yx = 10, (4, 6)

    def __init__(self, bad=None):
        self.bad = bad

    def sum_dtype(self, n_frames):
        return np.dtype(np.float32)

    def read_sum(self, start, stop, into=None):
        into[...] = sum(range(start, stop))
        if self.bad is not None and start <= self.bad < stop:
            into[1, 2] = np.nan
        return into


@pytest.mark.parametrize(("n_frames", "n"), [(10, 3), (10, 10), (401, 7)])
def test_fractions_use_every_frame_once_and_differ_by_one(n_frames, n):
    edges = fraction_edges(range(5, 5 + n_frames), n)
    sizes = np.diff(edges)
    assert (edges[0], edges[-1]) == (5, 5 + n_frames)
    assert sizes.sum() == n_frames
    assert sizes.max() - sizes.min() <= 1


def test_fractions_are_as_many_as_their_size_asks_for():
    assert n_fractions(400, 40) == 10
    assert n_fractions(410, 40) == 10
    assert n_fractions(3, 40) == 1


def test_frames_count_from_one_and_end_with_the_movie():
    assert frames_in_use(TIFF, 1, None) == range(10)
    assert frames_in_use(TIFF, 3, 5) == range(2, 5)
    assert frames_in_use(TIFF, 9, 99) == range(8, 10)
    with pytest.raises(DataUnfitError, match=r"a\.tif has no frame from 11 to its last"):
        frames_in_use(TIFF, 11, None)


def test_eer_frames_are_summed_by_the_movie_s_own_dose():
    series = make_series()
    tilt = replace(series.tilts[0], dose_start_per_angstrom2=0.0, dose_end_per_angstrom2=3.0)
    # 3 e/A^2 in 400 frames: 0.3 in 40.
    assert frames_per_fraction(series, tilt, EER, 0.3, "e/A^2") == 40
    assert frames_per_fraction(series, tilt, TIFF, 0.3, "e/A^2") == 1
    unknown = replace(tilt, dose_end_per_angstrom2=0.0)
    with pytest.raises(DataUnfitError, match=r"the dose of a\.eer is unknown"):
        frames_per_fraction(series, unknown, EER, 0.3, "e/A^2")


def test_fractions_are_sums_of_their_frames():
    read = read_fractions(Frames(), TIFF, range(1, 9), 3, ScratchBuffers())
    edges = fraction_edges(range(1, 9), 3)
    expected = [sum(range(a, b)) for a, b in itertools.pairwise(edges)]
    assert read[:, 0, 0].tolist() == expected
    assert (read == read[:, :1, :1]).all()
    dark = np.full((4, 6), 0.25, np.float32)
    lighter = without_dark(read, dark, edges, ScratchBuffers())
    np.testing.assert_allclose(lighter[:, 2, 3], np.array(expected) - 0.25 * np.diff(edges))


def test_a_pixel_that_is_no_number_is_refused_with_its_frame():
    with pytest.raises(DataUnfitError, match=r"a\.tif has pixels that are NaN") as failure:
        read_fractions(Frames(bad=6), TIFF, range(10), 5, ScratchBuffers())
    assert failure.value.facts["frame"] == 6
    assert failure.value.facts["n_pixels"] == 1


def test_movies_are_read_ahead_in_order_and_others_at_once():
    asked = []

    def read(number, memory):
        asked.append(number)
        frames = memory.array("frames", (2,), np.int64)
        frames[:] = number
        return frames

    with ReadAhead([3, 1, 2], read) as ahead:
        assert ahead.frames(3).tolist() == [3, 3]
        kept = ahead.frames(1)
        assert ahead.frames(7).tolist() == [7, 7]
        assert kept.tolist() == [1, 1]
        assert ahead.frames(2).tolist() == [2, 2]
    assert sorted(asked) == [1, 2, 3, 7]
    assert asked.index(1) < asked.index(2)
