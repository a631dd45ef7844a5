"""The specimen's plane from images whose specimen lies on a known one."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages
from cryoloom.algorithms.specimen import specimen_plane
from cryoloom.algorithms.specimen.specimen_plane import find_plane
from cryoloom.geometry.rotations import rotation_x, rotation_y

SIDE, PIXEL, AXIS = 112, 25.0, 30.0
TILTS = np.arange(-60.0, 61.0, 3.0)


def make_images(rng, *, tilt_x, tilt_y, height, n_bodies):
    """Bodies 150 A wide in a layer 900 A thick, and their geometry."""
    geometry = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 40, (len(TILTS), 2)))
    half = SIDE * PIXEL / 2
    bodies = rng.uniform(-1, 1, (n_bodies, 3)) * [2.4 * half, 1.6 * half, 375.0]
    bodies = bodies @ (rotation_y(tilt_y) @ rotation_x(tilt_x)).T + [0, 0, height]
    tick = np.arange(SIDE) - SIDE // 2
    images = rng.normal(0, 1.0, (len(TILTS), SIDE, SIDE))
    for image, at in zip(images, geometry.project(bodies) / PIXEL, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / (2 * 2.5**2))
        image -= 1.2 * np.exp(-((tick - at[:, 1:]) ** 2) / (2 * 2.5**2)).T @ across
    images /= images.std(axis=(1, 2), keepdims=True)
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones), geometry


@pytest.mark.parametrize(
    ("seed", "tilt_x", "tilt_y", "height"),
    [(1, 0.0, 12.0, 0.0), (2, 12.0, 0.0, 150.0), (3, -9.0, -8.0, -200.0)],
)
def test_the_plane_is_found_about_either_axis(seed, tilt_x, tilt_y, height):
    rng = np.random.default_rng(seed)
    images, geometry = make_images(rng, tilt_x=tilt_x, tilt_y=tilt_y, height=height, n_bodies=500)
    usable = np.ones(len(TILTS), bool)
    usable[[5, 30]] = False
    found, slope_x, slope_y = find_plane(images, geometry, usable, rng)
    about_y = -np.rad2deg(np.arctan(slope_x))
    about_x = np.rad2deg(np.arctan(slope_y / np.hypot(1.0, slope_x)))
    assert found == pytest.approx(height, abs=50)
    # 500 bodies over the field of all tilts, some 130 in this one, tell it to 1.3 degrees: twice that.
    assert about_y == pytest.approx(tilt_y, abs=2.6)
    assert about_x == pytest.approx(tilt_x, abs=2.6)


def test_noise_has_no_plane(rng):
    images, geometry = make_images(rng, tilt_x=0.0, tilt_y=0.0, height=0.0, n_bodies=0)
    assert find_plane(images, geometry, np.ones(len(TILTS), bool), rng) == (0.0, 0.0, 0.0)


def test_few_views_tell_no_plane(rng):
    images, geometry = make_images(rng, tilt_x=0.0, tilt_y=12.0, height=0.0, n_bodies=500)
    usable = np.arange(len(TILTS)) < 4
    assert find_plane(images, geometry, usable, rng) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("slope_x", "is_found"), [(0.3, True), (-0.3, True), (2.1, False), (-0.5, False)])
def test_a_plane_that_some_beam_meets_edge_on_is_not_found(slope_x, is_found, rng, monkeypatch):
    """With tilts to 60 degrees a slope of 22 degrees, 0.4, is the limit."""
    images, geometry = make_images(rng, tilt_x=0.0, tilt_y=0.0, height=0.0, n_bodies=0)
    fit = SimpleNamespace(is_certain=True, z_offset_angstrom=40.0, slope_x=slope_x, slope_y=0.1)
    monkeypatch.setattr(specimen_plane, "fit_slab", lambda _: fit)
    found = find_plane(images, geometry, np.ones(len(TILTS), bool), rng)
    assert found == ((40.0, slope_x, 0.1) if is_found else (0.0, 0.0, 0.0))
