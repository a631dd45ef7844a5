"""Gain references: one number for one camera pixel, whatever file it comes from."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.formats.session.gain import load_gain
from cryoloom.geometry.image_orientation import orient_image
from cryoloom.model import GainReference


@pytest.fixture
def values(rng):
    return rng.uniform(0.5, 2, (6, 4)).astype(np.float32)


def saved(path, values):
    if path.suffix == ".mrc":
        write_mrc(path, values, 1.0)
    elif path.suffix == ".gain":
        tifffile.imwrite(path.with_suffix(".tif"), values)
        path.with_suffix(".tif").rename(path)
    else:
        tifffile.imwrite(path, values)
    return path


@pytest.mark.parametrize(
    ("suffix", "divides", "expect"),
    [
        (".mrc", False, lambda v: v),
        (".tif", False, lambda v: v[::-1]),
        (".gain", False, lambda v: v),
        (".mrc", True, lambda v: 1 / v),
        (".tif", True, lambda v: 1 / v[::-1]),
    ],
)
def test_what_a_file_means(tmp_path, values, suffix, divides, expect):
    gain = GainReference(saved(tmp_path / f"gain{suffix}", values), divides=divides)
    assert_allclose(load_gain(gain, (6, 4)), expect(values), rtol=1e-6)


def test_is_oriented_as_asked(tmp_path, values):
    gain = GainReference(saved(tmp_path / "gain.mrc", values), quarter_turns=1, flip="left_right")
    assert_array_equal(load_gain(gain, (4, 6)), orient_image(values, 1, "left_right"))


def test_sampling_replicates_and_averages(tmp_path, values):
    values[0, 0] = 0
    gain = GainReference(saved(tmp_path / "gain.mrc", values))
    fine = load_gain(gain, (12, 8))
    assert_array_equal(fine[2:4, 4:6], np.full((2, 2), values[1, 2]))
    coarse = load_gain(gain, (3, 2))
    assert_allclose(coarse[1, 1], values[2:4, 2:4].mean(), rtol=1e-6)
    # Defects do not pull the mean down.
    assert_allclose(coarse[0, 0], values[:2, :2].sum() / 3, rtol=1e-6)


def test_what_is_no_gain_is_a_defect(tmp_path, values):
    values[:2, 0] = (np.nan, -1)
    values[2:4, 0] = (np.inf, 0)
    path = saved(tmp_path / "gain.mrc", values)
    for divides in (False, True):
        gain = load_gain(GainReference(path, divides=divides), (6, 4))
        assert_array_equal(gain[:4, 0], 0)
        assert (gain[4:] > 0).all()


def test_a_wrong_shape_tells_whether_a_turn_fits(tmp_path, values):
    gain = GainReference(saved(tmp_path / "gain.mrc", values))
    with pytest.raises(DataUnfitError, match="a quarter turn more would fit") as caught:
        load_gain(gain, (4, 6))
    assert (caught.value.facts["got_yx"], caught.value.facts["expected_yx"]) == ((6, 4), (4, 6))
    with pytest.raises(DataUnfitError, match="no rotation fits"):
        load_gain(gain, (6, 5))


@pytest.mark.parametrize("name", ["gain.mrc", "gain.txt"])
def test_a_missing_or_unknown_file(tmp_path, name):
    if name.endswith("txt"):
        (tmp_path / name).write_text("1")
    with pytest.raises(UserInputError, match="gain"):
        load_gain(GainReference(tmp_path / name), (6, 4))


def test_an_empty_gain_is_refused(tmp_path):
    with pytest.raises(DataUnfitError, match="no positive value"):
        load_gain(GainReference(saved(tmp_path / "gain.mrc", np.zeros((6, 4), np.float32))), (6, 4))


def bad_pixels(tmp_path, values, text):
    path = tmp_path / "defects.txt"
    path.write_text(text)
    gain = GainReference(saved(tmp_path / "gain.mrc", values), defects_path=path)
    return np.argwhere(load_gain(gain, (6, 4)) == 0).tolist()


def test_defects_of_motioncor(tmp_path, values):
    assert bad_pixels(tmp_path, values, "# x y w h\n1 4 2 1\n") == [[4, 1], [4, 2]]


def test_defects_of_serialem(tmp_path, values):
    text = "CameraSizeX 4\nCameraSizeY 6\nRotationFlip 0\nBadPixels 3 0 0 5\n"
    text += "PartialBadCol 1 4 5\nPartialBadRow 2 2 3\n"
    assert bad_pixels(tmp_path, values, text) == [[0, 0], [0, 1], [1, 1], [3, 2], [3, 3], [5, 3]]


def test_defects_for_another_camera_are_refused(tmp_path, values):
    with pytest.raises(DataUnfitError, match="it is for 5 x 7 pixels"):
        bad_pixels(tmp_path, values, "CameraSizeX 5\nCameraSizeY 7\nBadColumns 0\n")
    with pytest.raises(DataUnfitError, match="not a defect list"):
        bad_pixels(tmp_path, values, "1 2 3\n")


def test_a_defect_map(tmp_path, values):
    bad = np.zeros((6, 4), np.uint8)
    bad[0, 3] = 1
    tifffile.imwrite(tmp_path / "bad.tif", bad)
    gain = GainReference(saved(tmp_path / "gain.mrc", values), defects_path=tmp_path / "bad.tif")
    assert np.argwhere(load_gain(gain, (6, 4)) == 0).tolist() == [[5, 3]]
