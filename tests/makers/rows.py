"""Rows of images that are seen in part."""

from __future__ import annotations

import numpy as np


def seen_in_part(rng, shape):
    """Rows that begin and end at different pixels; the first has no image at all."""
    rows = rng.standard_normal(shape).astype(np.float32)
    for image in rows:
        for i, row in enumerate(image):
            row[: i % 5] = np.nan
            row[len(row) - i % 3 :] = np.nan
        image[0] = np.nan
    return rows
