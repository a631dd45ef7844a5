"""Analytic tilt series of Gaussian blobs and beads, made independently of the simulator."""

import numpy as np

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.model import Microscope, Sourced, Stack, Tilt, TiltSeries

SIDE, PIXEL, AXIS = 192, 12.0, 85.3
TILTS = np.arange(-60.0, 61.0, 5.0)


def make_series(rng, n_beads=12, shift_angstrom=60.0, depth_angstrom=500.0):
    """A series of 25 images of Gaussian blobs, their truth in the poses' convention."""
    truth = SeriesGeometry.start(TILTS, AXIS, rng.normal(0, shift_angstrom, (len(TILTS), 2)))
    half = SIDE * PIXEL / 2
    blobs = rng.uniform(-1, 1, (900, 3)) * [2.4 * half, 1.4 * half, depth_angstrom]
    beads = rng.uniform(-1, 1, (n_beads, 3)) * [0.8 * half, 0.8 * half, depth_angstrom]
    points = np.concatenate([blobs, beads])
    width = np.concatenate([rng.uniform(30, 70, len(blobs)), np.full(n_beads, 40.0)]) / PIXEL
    height = np.concatenate([np.full(len(blobs), 1.0), np.full(n_beads, 12.0)])
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    images = np.zeros((len(TILTS), SIDE, SIDE), np.float32)
    for image, positions, tilt in zip(images, truth.project(points) / PIXEL, TILTS, strict=True):
        gauss_x = np.exp(-((x[0] - positions[:, :1]) ** 2) / (2 * width[:, None] ** 2))
        gauss_y = np.exp(-((y[:, :1].T - positions[:, 1:]) ** 2) / (2 * width[:, None] ** 2))
        image += 100 * np.exp(-0.3 / np.cos(np.deg2rad(tilt)))
        image -= (gauss_y * height[:, None]).T @ gauss_x
        image += rng.normal(0, 2.0, image.shape)
    order = np.argsort(np.argsort(np.abs(TILTS), kind="stable"))
    tilts = tuple(
        Tilt(int(k), float(t), 3.0 * k, 3.0 * k + 3, section=i)
        for i, (t, k) in enumerate(zip(TILTS, order, strict=True))
    )
    axis = Sourced.from_told(AXIS + 5.0, "mdoc")
    return TiltSeries("a", Microscope(), PIXEL, tilts, axis, stack=Stack(images, PIXEL)), truth
