"""EER movies: every event on its pixel, at any sampling, as imagecodecs has it; damage is reported."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.movie import describe_movie, open_movie
from makers.eer_files import eer, encode_events, events, write_bigtiff

__all__ = ["eer", "events"]


def test_eer_agrees_with_imagecodecs(eer, events):
    """Oracle: another program's decoder, on bits from neither."""
    opened = open_movie(describe_movie(eer))
    assert opened.shape_yx == (64, 96)
    for i, frame in enumerate(events):
        expected = imagecodecs.eer_decode(encode_events(*frame, 64 * 96), (64, 96), 7, 2, 2)
        assert_array_equal(opened.read_sum(i, i + 1), expected.astype(np.float32))
    assert opened.read_sum(0, 3).sum() == 1403


@pytest.mark.parametrize("sampling", [2, 4])
def test_eer_places_events_within_the_pixel(eer, events, sampling):
    """The top bit of each place is inverted: 2, 3, 0, 1 run from left to right and bottom to top."""
    opened = open_movie(describe_movie(eer, sampling))
    expected = np.zeros(opened.shape_yx, np.float32)
    for pixels, places in events:
        y_sub, x_sub = ((places >> 2) ^ 2) * sampling // 4, ((places & 3) ^ 2) * sampling // 4
        expected[pixels // 96 * sampling + y_sub, pixels % 96 * sampling + x_sub] += 1
    assert_array_equal(opened.read_sum(0, 3), expected)


def test_eer_of_eight_bit_runs(tmp_path, events):
    path = tmp_path / "old.eer"
    write_bigtiff(path, [encode_events(*f, 64 * 96, skip_bits=8) for f in events], 64, 96, [65000] * 3)
    read = open_movie(describe_movie(path)).read_sum(0, 1)
    assert_array_equal(np.flatnonzero(read), events[0][0])


def test_eer_sums_more_frames_than_a_byte_holds(tmp_path):
    path = tmp_path / "long.eer"
    write_bigtiff(path, [encode_events([7], [0], 256)] * 600, 16, 16, [65001] * 600)
    assert open_movie(describe_movie(path)).read_sum(0, 600)[0, 7] == 600


def test_eer_ignores_a_summed_image_among_the_frames(tmp_path, events):
    path, frame = tmp_path / "movie.eer", encode_events(*events[0], 64 * 96)
    write_bigtiff(path, [bytes(64 * 96), frame, frame], 64, 96, [1, 65001, 65001])
    movie = describe_movie(path)
    assert movie.n_frames == 2
    assert open_movie(movie).read_sum(0, 2).max() == 2


def test_eer_of_an_odd_sampling_is_refused(eer):
    with pytest.raises(UserInputError, match="power of 2 up to 4, got 3"):
        describe_movie(eer, 3)


def test_eer_with_events_beyond_the_image_is_damaged(tmp_path):
    path = tmp_path / "bad.eer"
    write_bigtiff(path, [encode_events([900], [0], 1000)], 16, 16, [65001])
    with pytest.raises(DataUnfitError, match="damaged: events of frame 0"):
        open_movie(describe_movie(path)).read_sum(0, 1)
