"""Camera defects as SerialEM, MotionCor and maps give them; row 0 is the bottom."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest
import tifffile

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.session.defects import load_defects

SHAPE = (6, 8)


def write(tmp_path, text):
    path = tmp_path / "defects.txt"
    path.write_text(text)
    return path


def expected(*cells):
    bad = np.zeros(SHAPE, bool)
    for cell in cells:
        bad[cell] = True
    return bad


def test_motioncor_counts_rectangles_from_the_bottom(tmp_path):
    path = write(tmp_path, "# x y w h\n2 0 1 6\n5 4 3 2\n-1 5 2 9\n")
    bad = expected(np.s_[:, 2], np.s_[4:6, 5:8], np.s_[5:, 0])
    np.testing.assert_array_equal(load_defects(path, SHAPE), bad)


def test_serialem_counts_rows_from_the_top(tmp_path):
    text = (
        "CameraSizeX 8\nCameraSizeY 6\nBadColumns 7\nBadRows 0\nBadPixels 1 5 3 4\n"
        "PartialBadCol 4 2 3\nPartialBadRow 1 0 2\n"
    )
    bad = expected(np.s_[:, 7], np.s_[5, :], np.s_[0, 1], np.s_[1, 3], np.s_[2:4, 4], np.s_[4, 0:3])
    np.testing.assert_array_equal(load_defects(write(tmp_path, text), SHAPE), bad)


def test_a_list_made_at_half_the_size_is_doubled(tmp_path):
    path = write(tmp_path, "CameraSizeX 4\nCameraSizeY 3\nBadPixels 1 2\n")
    np.testing.assert_array_equal(load_defects(path, SHAPE), expected(np.s_[0:2, 2:4]))


def test_maps_mark_defects_by_values_other_than_zero(tmp_path):
    image = np.zeros(SHAPE, np.int16)
    image[1, 2] = 5
    mrcfile.write(tmp_path / "map.mrc", image)
    tifffile.imwrite(tmp_path / "map.tif", image[::-1])
    for name in ("map.mrc", "map.tif"):
        np.testing.assert_array_equal(load_defects(tmp_path / name, SHAPE), expected((1, 2)))


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserInputError, match="does not exist; correct defects_path"):
        load_defects(tmp_path / "none.txt", SHAPE)
    with pytest.raises(DataUnfitError, match="it is for 5 x 6 pixels, movies are 8 x 6"):
        load_defects(write(tmp_path, "CameraSizeX 5\nBadColumns 1\n"), SHAPE)
    with pytest.raises(DataUnfitError, match="not a defect list as SerialEM or MotionCor write"):
        load_defects(write(tmp_path, "1 2 3\n"), SHAPE)
    mrcfile.write(tmp_path / "other.mrc", np.zeros((3, 3), np.int16))
    with pytest.raises(DataUnfitError, match="another shape than the movies"):
        load_defects(tmp_path / "other.mrc", SHAPE)
