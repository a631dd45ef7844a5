"""MRC movies: shapes from the header, and sums of frames."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoloom.formats.pixels.mrc_movie import MrcMovie, describe_mrc


@pytest.fixture
def frames(tmp_path, rng):
    values = rng.integers(0, 9, (5, 13, 10)).astype(np.int8)
    mrcfile.write(tmp_path / "movie.mrc", values)
    return tmp_path / "movie.mrc", values


def test_shape_and_frames_are_those_of_the_header(frames):
    path, values = frames
    described = describe_mrc(path)
    assert (described.n_frames, described.shape_yx, described.eer_sampling) == (5, (13, 10), 1)
    opened = MrcMovie(path)
    assert (opened.n_frames, opened.shape_yx) == (values.shape[0], values.shape[1:])
    assert opened.sum_dtype(5) == np.float32


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (1, 3), (2, 3), (3, 9)])
def test_sums_are_those_of_the_frames(frames, start, stop):
    path, values = frames
    np.testing.assert_array_equal(MrcMovie(path).read_sum(start, stop), values[start:stop].sum(axis=0))


def test_a_sum_can_be_put_into_an_array(frames):
    path, values = frames
    into = np.full((13, 10), 77, MrcMovie(path).sum_dtype(2))
    assert MrcMovie(path).read_sum(0, 2, into) is into
    np.testing.assert_array_equal(into, values[:2].sum(axis=0))
