"""Aligned images for programs that turn about the pixel between the two middle ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.model import Pose, Sourced
from cryoloom.programs.reconstruction.upright_stack import (
    angles_of,
    require_upright,
    used_tilts,
    write_flipped,
    write_upright,
)
from makers.made_series import aligned, make_series


def upright(shape_yx=(16, 24), leave_out=(), **pose):
    series = aligned(make_series(n_tilts=5, shape_yx=shape_yx), leave_out)
    poses = {
        t.acquisition_index: {"pose": Pose(**({"axis_deg": 0.0, "tilt_deg": t.nominal_tilt_deg} | pose))}
        for t in series.included
    }
    return replace(series.with_tilts(poses), tilt_axis_deg=Sourced.from_told(0.0, "test"))


def bump(shape_yx, centre_yx):
    """A Gaussian of 2 pixels, which the pixels sample without loss."""
    y, x = np.ogrid[: shape_yx[0], : shape_yx[1]]
    return np.exp(-((y - centre_yx[0]) ** 2 + (x - centre_yx[1]) ** 2) / 8.0).astype(np.float32)


@pytest.mark.parametrize("shape_yx", [(48, 64), (47, 64), (48, 63), (47, 63)])
def test_the_middle_pixel_lands_where_the_program_turns(tmp_path, shape_yx):
    """What lies at index n // 2 lies at (n - 1) / 2 in the file, whether n is even or odd."""
    series = upright(shape_yx)
    middle = [n // 2 for n in shape_yx]
    images = np.tile(bump(shape_yx, middle), (5, 1, 1))
    write_upright(images, series, tmp_path / "a.mrc", 2.0)
    expected = bump(shape_yx, [(n - 1) / 2 for n in shape_yx])
    np.testing.assert_allclose(MrcPixels(tmp_path / "a.mrc")[2], expected, atol=1e-4)


def test_tilts_in_use_in_order_of_tilt(tmp_path):
    series = upright(leave_out=(4,))
    angles = [float(line) for line in angles_of(series).split()]
    assert angles == sorted(angles)
    assert len(angles) == len(used_tilts(series)) == 4
    write_upright(series.stack.images, series, tmp_path / "a.mrc", 2.0)
    written = MrcPixels(tmp_path / "a.mrc")
    assert written.shape == (4, 16, 24)
    # The maker's pixels tell the acquisition index of their tilt.
    order = [tilt.acquisition_index for tilt in used_tilts(series)]
    np.testing.assert_allclose([written[i].mean() for i in range(4)], order, atol=1e-5)


@pytest.mark.parametrize(
    ("pose", "sentence"),
    [
        ({"axis_deg": 85.0}, "takes aligned images, and those of TS_01 are not; run apply_alignment"),
        ({"shift_xy_angstrom": (0.0, 5.0)}, "takes aligned images"),
        ({"x_tilt_deg": 1.5}, r"an x-tilt of 1\.50 deg, which tomo3d does not support"),
    ],
)
def test_what_the_program_cannot_be_given_is_refused(pose, sentence):
    with pytest.raises(DataUnfitError, match=sentence):
        require_upright(upright(**pose), "tomo3d")
    require_upright(upright(), "tomo3d")


def test_one_tilt_is_no_series():
    with pytest.raises(DataUnfitError, match="has 1 tilts in use, expected at least 2"):
        require_upright(upright(leave_out=(0, 1, 2, 3)), "tomo3d")


def test_sections_and_rows_are_exchanged(tmp_path, rng):
    images = rng.normal(size=(3, 5, 7)).astype(np.float32)
    write_mrc(tmp_path / "a.mrc", images, 2.0)
    write_flipped(tmp_path / "a.mrc", tmp_path / "b.mrc", 2.0)
    np.testing.assert_array_equal(MrcPixels(tmp_path / "b.mrc")[:], images.transpose(1, 0, 2))
