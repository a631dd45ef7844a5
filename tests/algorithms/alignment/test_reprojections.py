"""Images predicted from the others lie where the images are."""

import numpy as np
import torch

from cryoloom.algorithms.alignment.reprojections import reprojections
from cryoloom.algorithms.images.correlate import correlation_peaks
from cryoloom.algorithms.series.series_geometry import SeriesGeometry
from cryoloom.algorithms.series.tilt_images import TiltImages, band_response, edge_taper
from makers.slab_images import ALL, AXIS, PIXEL, SIDE, TILTS, make_images


def test_an_image_lies_where_the_others_predict_it(rng):
    images, truth = make_images(rng)
    reprojected = reprojections(images, truth, ALL)
    taper = edge_taper((SIDE, SIDE), 0.3)
    response = band_response((SIDE, SIDE), SIDE / 8, 4.0)
    peaks = correlation_peaks(reprojected * taper, images.images * taper, response, 12)
    flat = np.abs(TILTS) < 50
    assert np.abs(peaks.shifts_yx_px.numpy()[flat]).max() < 0.5
    # Noise alone reaches about 5; what an image put in itself would stand out with 50 and more.
    assert peaks.prominence.numpy()[flat].min() > 6


def test_an_image_does_not_predict_itself(rng):
    noise = TiltImages(
        torch.from_numpy(rng.normal(size=(len(TILTS), SIDE, SIDE))).float(), PIXEL, np.ones(25), np.ones(25)
    )
    geometry = SeriesGeometry.start(TILTS, AXIS)
    reprojected = reprojections(noise, geometry, ALL)[:, 20:-20, 20:-20].flatten(1)
    own = noise.images[:, 20:-20, 20:-20].flatten(1)
    likeness = (reprojected * own).sum(1) / (reprojected.norm(dim=1) * own.norm(dim=1))
    assert likeness.abs().max() < 0.1
