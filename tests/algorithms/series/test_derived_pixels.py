"""Computed pixels: what they hold, any index, threads, and their way through the store."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.algorithms.series.derived_pixels import (
    Difference,
    DoseWeighted,
    MeanOfHalves,
    Replaced,
    Turned,
    files_of,
    reading_bytes,
    reopened,
)
from cryoloom.algorithms.series.dose import mean_dose_weights
from cryoloom.formats.exchange.parquet import ParquetTable, write_parquet
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.model import ArrayTable
from cryoloom.store.codec import decode, encode

SHAPE = (3, 31, 40)
DOSES = ((0.0, 3.0), None, (3.0, 6.0))
MOVES = {"section": np.array([2, 0, 2]), "target": np.array([5, 7, 81]), "source": np.array([6, 50, 90])}


@pytest.fixture
def images(rng):
    return rng.normal(10, 2, SHAPE).astype(np.float32)


def weighted(images, section, pixel=2.0):
    if DOSES[section] is None:
        return images[section]
    frequency = np.hypot(np.fft.fftfreq(SHAPE[1], pixel)[:, None], np.fft.rfftfreq(SHAPE[2], pixel))
    weights = mean_dose_weights(frequency, *DOSES[section], 300.0)
    return np.fft.irfft2(np.fft.rfft2(images[section]) * weights, s=SHAPE[1:])


def replaced(images):
    made = images.copy().reshape(3, -1)
    for section, target, source in zip(*MOVES.values(), strict=True):
        made[section, target] = images.reshape(3, -1)[section, source]
    return made.reshape(SHAPE)


def made_of(images):
    """One of each kind, and what it must hold."""
    half = images * np.float32(0.5)
    return [
        (Difference(images, half), images - half),
        (
            DoseWeighted(images, DOSES, "mean", 300.0, 2.0),
            np.stack([weighted(images, i) for i in range(3)]),
        ),
        (Replaced(images, ArrayTable(MOVES)), replaced(images)),
        (
            DoseWeighted(Replaced(images, ArrayTable(MOVES)), DOSES, "mean", 300.0, 2.0),
            np.stack([weighted(replaced(images), i) for i in range(3)]),
        ),
        (MeanOfHalves(images, half), np.float32(0.5) * (images + half)),
        (Turned(images.transpose(1, 0, 2), sections_along_y=True, mirrored_z=False), images),
        (Turned(images[::-1], sections_along_y=False, mirrored_z=True), images),
        (Turned(images[::-1].transpose(1, 0, 2), sections_along_y=True, mirrored_z=True), images),
    ]


INDICES = [
    ...,
    1,
    -1,
    slice(1, None),
    (2, slice(3, 9)),
    (0, slice(None), slice(2, 5)),
    (slice(None), 4),
    (..., 3),
    slice(0, 0),
    (np.int64(1), slice(None, None, 2), slice(None)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_any_part_can_be_read(images, index):
    for pixels, expected in made_of(images):
        assert pixels.shape == SHAPE
        assert pixels.dtype == np.float32
        assert pixels[index].dtype == np.float32
        assert_allclose(pixels[index], expected[index], atol=2e-5)  # float32 transforms


def test_threads_read_the_same_bits(images):
    pixels = made_of(images)[3][0]
    alone = [made_of(images)[3][0][i].copy() for i in range(3)]
    with ThreadPoolExecutor(4) as pool:
        for i, image in enumerate(pool.map(lambda i: pixels[i % 3], range(60))):
            assert_array_equal(image, alone[i % 3])


def test_it_is_stored_as_what_it_is_made_from(images, tmp_path):
    whole = write_mrc(tmp_path / "images.mrc", images, 2.0)
    even = write_mrc(tmp_path / "even.mrc", images * 0.5, 2.0)
    write_parquet(tmp_path / "xrays.parquet", MOVES)
    table = ParquetTable(tmp_path / "xrays.parquet")
    made = DoseWeighted(Replaced(Difference(whole, even), table), DOSES, "mean", 300.0, 2.0)
    stored = encode(made, tmp_path)
    assert stored["images"]["images"]["whole"] == {"$pixels": "images.mrc"}
    back = decode(stored, tmp_path, MrcPixels)
    assert encode(back, tmp_path) == stored
    assert_array_equal(back[0], made[0])
    assert files_of(back) == (whole.path, even.path)
    assert_array_equal(reopened(back, MrcPixels)[2], made[2])


def test_pixels_in_memory_have_no_files(images):
    assert files_of(images) == ()
    assert files_of(Difference(images, images)) == ()


def test_memory_counts_what_is_kept(images):
    image = 4 * SHAPE[1] * SHAPE[2]
    assert reading_bytes(images) == reading_bytes(Difference(images, images)) == 0
    assert reading_bytes(made_of(images)[3][0]) == 8 * image
