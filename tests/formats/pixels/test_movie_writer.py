import mrcfile
import numpy as np
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.formats.pixels.movie import describe_movie, open_movie
from cryoloom.formats.pixels.movie_writer import (
    write_eer_gain,
    write_gain_mrc,
    write_movie_mrc,
    write_movie_tiff,
)


def test_tiff_rows_are_upside_down_and_compressed(rng, tmp_path):
    frames = rng.poisson(2.0, (3, 41, 50)).astype(np.uint8)
    write_movie_tiff(tmp_path / "a.tif", frames)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.pages) == 3
        assert tif.pages[0].compression == tifffile.COMPRESSION.LZW
        assert_array_equal(tif.pages[1].asarray(), frames[1, ::-1])
    movie = open_movie(describe_movie(tmp_path / "a.tif"))
    assert_array_equal(movie.read_sum(1, 2), frames[1])


def test_mrc_movie_is_read_back(rng, tmp_path):
    frames = rng.poisson(2.0, (3, 41, 50)).astype(np.uint8)
    write_movie_mrc(tmp_path / "a.mrc", frames, 1.5)
    movie = open_movie(describe_movie(tmp_path / "a.mrc"))
    assert_array_equal(movie.read_sum(0, 3), frames.sum(axis=0))


def test_gain_files_hold_the_gain_and_no_time(rng, tmp_path):
    gain = rng.normal(1.0, 0.1, (40, 50)).astype(np.float32)
    write_gain_mrc(tmp_path / "gain.mrc", gain, 1.5)
    with mrcfile.open(tmp_path / "gain.mrc") as file:
        assert_array_equal(file.data, gain)
        assert_allclose(file.voxel_size.x, 1.5)
        assert file.header.nlabl == 0
    write_eer_gain(tmp_path / "reference.gain", gain)
    assert_array_equal(tifffile.imread(tmp_path / "reference.gain"), gain)
