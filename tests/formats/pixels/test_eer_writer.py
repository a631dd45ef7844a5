"""EER files are decoded by imagecodecs, which is independent of our writer and our reader."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.eer_writer import encode_eer_frame, write_eer
from cryoloom.formats.pixels.movie import describe_movie, open_movie

SHAPE = (62, 70)


def distinct_events(rng, n, shape=SHAPE):
    """Events on quarter pixels, one a pixel at most."""
    pixel = rng.permutation(shape[0] * shape[1])[:n]
    return np.column_stack([pixel // shape[1], pixel % shape[1]]) * 4 + rng.integers(0, 4, (n, 2))


def image_of(events, shape, sampling):
    image = np.zeros((shape[0] * sampling, shape[1] * sampling), dtype=np.uint8)
    np.add.at(image, tuple((np.asarray(events).reshape(-1, 2) * sampling // 4).T), 1)
    return image


@pytest.mark.parametrize("skip_bits", [7, 8])
@pytest.mark.parametrize("n", [0, 1, 30, 2000, SHAPE[0] * SHAPE[1]])  # sparse, where runs go on, and full
@pytest.mark.parametrize("superres", [0, 1, 2])
def test_imagecodecs_finds_every_event(skip_bits, n, superres, rng):
    events = distinct_events(rng, n)
    data, kept = encode_eer_frame(events, SHAPE, skip_bits)
    assert kept == n
    sampling = 2**superres
    decoded = imagecodecs.eer_decode(
        data, (SHAPE[0] * sampling, SHAPE[1] * sampling), skip_bits, 2, 2, superres=superres
    )
    assert_array_equal(decoded, image_of(events, SHAPE, sampling))


def test_a_pixel_sees_one_electron_a_frame():
    data, kept = encode_eer_frame(np.array([[8, 9], [9, 10], [0, 0]]), SHAPE)
    assert kept == 2
    assert imagecodecs.eer_decode(data, SHAPE, 7, 2, 2).sum() == 2


def test_events_outside_are_refused():
    with pytest.raises(UserInputError, match="248 x 280 grid"):
        encode_eer_frame(np.array([[4 * SHAPE[0], 0]]), SHAPE)


@pytest.mark.parametrize("compression", [65000, 65001, 65002])
@pytest.mark.parametrize("sampling", [1, 2])
def test_files_are_read_by_tifffile_and_by_us(compression, sampling, rng, tmp_path):
    path = tmp_path / "movie.eer"
    frames = [distinct_events(rng, 300) for _ in range(5)]
    n = write_eer(
        path, frames, SHAPE, dose_per_angstrom2=3.0, pixel_size_angstrom=1.5, compression=compression
    )
    assert n == 1500
    expected = np.stack([image_of(events, SHAPE, sampling) for events in frames])
    with tifffile.TiffFile(path, superres=sampling - 1) as tif:
        assert tif.is_eer
        assert tif.pages.first.eer_tags["numberOfFrames"] == 5
        assert_array_equal(tif.series[0].asarray(), expected)
    movie = open_movie(describe_movie(path, eer_sampling=sampling))
    assert movie.n_frames == 5
    # EER is not flipped on reading: row 0 of the file is row 0 of the array.
    assert_array_equal(movie.read_sum(1, 3), expected[1:3].sum(axis=0))


def test_unknown_compression_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="65003"):
        write_eer(
            tmp_path / "a.eer", [], SHAPE, dose_per_angstrom2=3, pixel_size_angstrom=1, compression=65003
        )
