"""Images of a series of blobs, loaded as alignment takes them."""

import numpy as np

from cryoloom.algorithms.series.tilt_images import load_tilt_images
from makers.blob_series import PIXEL, TILTS

ALL = np.ones(len(TILTS), bool)


def images_of(series):
    """Images of a `blob_series` at its pixel size."""
    return load_tilt_images(series.stack.images, PIXEL, PIXEL)
