"""A field full of gold beads in one plane, and nothing else: every bead may be taken for every other."""

import numpy as np
import torch

from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages

PIXEL = 12.0


def gold(seed, height=-1100.0, n_beads=60, shape=(84, 106), n=31):
    """Beads below thick ice, alike in every respect: images to 20 degrees, and their true geometry."""
    rng = np.random.default_rng(seed)
    tilt = np.linspace(-20.0, 20.0, n)
    geometry = SeriesGeometry.start(tilt, 84.0, rng.normal(0, 50, (n, 2)))
    points = np.column_stack([rng.uniform(-1, 1, (n_beads, 2)) * 1100, rng.normal(height, 5, n_beads)])
    y, x = (np.arange(n) - n // 2 for n in shape)
    images = rng.normal(size=(n, *shape)).astype(np.float32)
    for image, places in zip(images, geometry.project(points) / PIXEL, strict=True):
        for at_x, at_y in places:
            along_y, along_x = np.exp(-((y - at_y) ** 2) / 20), np.exp(-((x - at_x) ** 2) / 20)
            image -= 6 * along_y[:, None] * along_x[None, :]
    return TiltImages(torch.from_numpy(images), PIXEL, np.ones(n), np.ones(n)), geometry
