"""Dark references."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.formats.session.dark import load_dark


def written(path, image):
    write_mrc(path, image, 1.0)
    return path


def test_an_image_of_the_movies_size_is_read(tmp_path, rng):
    dark = rng.uniform(-1, 5, (6, 8)).astype(np.float32)  # below zero too: it is a difference of readings
    path = written(tmp_path / "dark.mrc", dark)
    assert_array_equal(load_dark(path, (6, 8)), dark)


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(UserInputError, match=r"dark reference .*absent\.mrc does not exist"):
        load_dark(tmp_path / "absent.mrc", (6, 8))
    with pytest.raises(DataUnfitError, match="does not fit the movies"):
        load_dark(written(tmp_path / "small.mrc", np.zeros((3, 4), np.float32)), (6, 8))
    with pytest.raises(DataUnfitError, match="NaN or infinite"):
        load_dark(written(tmp_path / "nan.mrc", np.full((6, 8), np.nan, np.float32)), (6, 8))
