"""The looping picture: images brought upright by their poses, small enough, and moving."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cryoloom.model import Exclusion, Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.views.aligned_loop import MOST_BYTES, aligned_frames, aligned_loop
from cryoloom.views.images import averaged_to

PIXEL = 5.0
POINTS = np.array([[0.0, 600.0, 0.0], [0.0, -500.0, 0.0], [700.0, 0.0, 0.0]])


def make_series(rng, axis=85.0, shape=(480, 640), n_tilts=9):
    """Blobs on and off the tilt axis of images with shifts of their own."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    images, tilts = np.zeros((n_tilts, *shape), np.float32), []
    for i, angle in enumerate(np.linspace(-40, 40, n_tilts)):
        pose = Pose(axis, float(angle), shift_xy_angstrom=tuple(rng.normal(0, 80, 2)), magnification=1.01)
        for point in POINTS:
            seen = pose.magnification * (pose.matrix @ point)[:2] + pose.shift_xy_angstrom
            at_x, at_y = seen / PIXEL + [shape[1] // 2, shape[0] // 2]
            images[i] += np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 8.0**2)).astype(np.float32)
        tilts.append(Tilt(i, float(angle), 0, 3, section=i, pose=pose))
    return TiltSeries("TS", Microscope(), PIXEL, tuple(tilts), stack=Stack(images, PIXEL))


def small_images(series):
    return {t.acquisition_index: averaged_to(series.stack.images[t.section], 320) for t in series.tilts}


def test_points_of_the_axis_stay_and_others_glide(rng):
    series = make_series(rng)
    frames = aligned_frames(series, small_images(series))
    assert [round(tilt) for tilt, _ in frames] == [-40, -30, -20, -10, 0, 10, 20, 30, 40]
    n_y, n_x = frames[0][1].shape
    assert (n_y, n_x) == (256, 192)  # the axis lies across the camera, so the picture stands upright
    pixel = 640 * PIXEL / 256
    for tilt, image in frames:
        for point in POINTS:
            expected_x = point[0] * np.cos(np.deg2rad(tilt)) / pixel + (n_x - 1) / 2
            expected_y = point[1] / pixel + (n_y - 1) / 2
            rows = slice(round(expected_y) - 8, round(expected_y) + 9)
            columns = slice(round(expected_x) - 8, round(expected_x) + 9)
            cut = np.nan_to_num(image[rows, columns])
            y, x = np.mgrid[rows, columns]
            at = np.array([(cut * y).sum(), (cut * x).sum()]) / cut.sum()
            # Half a small pixel: centres of n // 2 and (n - 1) / 2 are not distinguished.
            np.testing.assert_allclose(at, [expected_y, expected_x], atol=0.8)


def test_the_picture_moves_and_is_small(rng):
    series = make_series(rng, n_tilts=61)
    noisy = {i: image + rng.normal(0, 1, image.shape) for i, image in small_images(series).items()}
    uri = aligned_loop(series, noisy)
    assert uri.startswith("data:image/webp;base64,")
    assert len(uri) <= MOST_BYTES
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert picture.n_frames == 61
    assert picture.info["loop"] == 0


@pytest.mark.parametrize("n_posed", [0, 2])
def test_without_an_alignment_there_is_none(rng, n_posed):
    series = make_series(rng)
    small = small_images(series)
    bare = series.with_tilts({i: {"pose": None} for i in range(n_posed, 9)})
    assert aligned_loop(bare, small) == ""
    excluded = series.with_tilts({4: {"exclusion": Exclusion.by_user("dark")}})
    assert len(aligned_frames(excluded, small)) == 8
    assert aligned_frames(replace(series, tilts=()), small) == []
