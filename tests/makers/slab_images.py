"""Images of blobs in a slab, and their geometry."""

import numpy as np
import torch

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages

SIDE, PIXEL, AXIS = 96, 20.0, 30.0
TILTS = np.arange(-60.0, 61.0, 5.0)
ALL = np.ones(len(TILTS), bool)


def make_images(rng):
    """Blobs in a slab 800 A thick, and their geometry."""
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, 30, (len(TILTS), 2)))
    half = SIDE * PIXEL / 2
    points = rng.uniform(-1, 1, (700, 3)) * [2.4 * half, 1.6 * half, 400]
    tick = np.arange(SIDE) - SIDE // 2
    images = rng.normal(0, 1.0, (len(TILTS), SIDE, SIDE))
    for image, at in zip(images, truth.project(points) / PIXEL, strict=True):
        across = np.exp(-((tick - at[:, :1]) ** 2) / 8)
        image -= 3 * np.exp(-((tick - at[:, 1:]) ** 2) / 8).T @ across
    images /= images.std(axis=(1, 2), keepdims=True)
    ones = np.ones(len(TILTS))
    return TiltImages(torch.from_numpy(images).float(), PIXEL, ones, ones), truth
