"""Small tilt series with gold beads on noise of a known spectrum, and the same without beads."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.model import Microscope, Pose, Stack, Tilt, TiltSeries

PIXEL, DIAMETER = 10.0, 100.0


def coloured_noise(rng, shape, period_px=6.0):
    """Noise of unit deviation, twice as strong below the period as above."""
    frequency = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    response = 1 + np.exp(-((frequency * period_px) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) * response, s=shape)
    return noise / noise.std()


def bead_series(rng, *, n_beads=8, n_tilts=17, shape=(160, 200), axis=84.0, weighted=False, on_both=None):
    """The series, the beads' positions, and its images as they would be without beads.

    A level that falls with tilt, a slope across the field, noise, and beads with a bright fringe. They lie
    within 400 A of the middle or, with ``on_both``, on the surfaces of ice of that thickness in angstrom.
    """
    angles = np.linspace(-56, 56, n_tilts)
    geometry = SeriesGeometry.start(angles, axis, rng.normal(0, 40, (n_tilts, 2)))
    half = np.array([shape[0], shape[1]])[::-1] * PIXEL / 2
    # The specimen's x runs across the tilt axis, which lies along the image's x here.
    beads = rng.uniform(-0.8, 0.8, (n_beads, 3)) * [half[1], half[0], 500.0]
    if on_both is not None:
        beads[:, 2] = on_both / 2 * np.where(np.arange(n_beads) % 2, 1, -1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    bare = np.empty((n_tilts, *shape), np.float32)
    images = np.empty_like(bare)
    for i, places in enumerate(geometry.project(beads) / PIXEL):
        level = 100 * np.exp(-0.3 / np.cos(np.deg2rad(angles[i]))) * (1 + 0.1 * x / shape[1])
        bare[i] = level + 5.0 * coloured_noise(rng, shape)
        images[i] = bare[i]
        for at_x, at_y in places:
            r = np.hypot(y - at_y - shape[0] // 2, x - at_x - shape[1] // 2) * PIXEL / (DIAMETER / 2)
            images[i] -= 30 * np.sqrt(np.clip(1 - r**2, 0, None)) - 4 * np.exp(-((r - 1.3) ** 2) / 0.03)
    order = np.argsort(np.argsort(np.abs(angles), kind="stable"))
    tilts = tuple(
        Tilt(
            int(k),
            float(a),
            3.0 * k,
            3.0 * k + 3,
            section=i,
            pose=Pose(axis, float(a), shift_xy_angstrom=tuple(geometry.shift_xy_angstrom[i])),
        )
        for i, (a, k) in enumerate(zip(angles, order, strict=True))
    )
    stack = Stack(images, PIXEL, images * 0.4, images * 0.6)
    series = TiltSeries("TS", Microscope(), PIXEL, tilts, stack=stack, weighted=stack if weighted else None)
    return series, beads, bare
