"""Test of the step, without the engine: an in-memory context takes its place."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.steps.invert_contrast import InvertContrastParams, invert_contrast


def test_dark_becomes_bright(context, rng):
    images = rng.normal(10, 1, (3, 16, 20)).astype(np.float32)
    tilts = tuple(Tilt(i, 3.0 * i, 3.0 * i, 3.0 * i + 3, section=i) for i in range(3))
    series = TiltSeries("TS_01", Microscope(), 2.5, tilts, stack=Stack(images, 2.5))
    result = invert_contrast(series, InvertContrastParams(), context)
    assert_allclose(result.stack.images, 2 * images.mean(axis=(1, 2), keepdims=True) - images, rtol=1e-5)
    assert_allclose(context.figures["contrast_ratio"], 1.0, rtol=1e-5)
