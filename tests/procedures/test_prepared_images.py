"""What is prepared from single images: found under the image's key, made where that is not known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cryoloom.algorithms.series.derived_pixels import DoseWeighted
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.model import Microscope, Stack, Tilt, TiltSeries
from cryoloom.procedures.prepared_images import PreparedImages, image_facts, prepared


@pytest.fixture
def series(tmp_path, rng):
    path = write_mrc(tmp_path / "images.mrc", rng.normal(size=(3, 8, 8)).astype(np.float32), 2.0).path
    stack = Stack(MrcPixels(path), 2.0, image_keys=("a", "b", ""))
    tilts = tuple(Tilt(i, float(i), 0.0, 3.0, section=i) for i in range(3))
    return TiltSeries("TS_01", Microscope(300.0), 2.0, tilts, stack=stack)


def weighted(series, dose=3.0):
    doses = ((0.0, dose), (dose, 2 * dose), None)
    return series.unweighted_stack.of_each(lambda pixels: DoseWeighted(pixels, doses, "mean", 300.0, 2.0))


def test_an_image_is_known_by_its_key(series):
    assert image_facts(series, series.stack, 1) == ("b",)
    assert image_facts(series, series.stack, 2) is None
    assert image_facts(series, dataclasses.replace(series.stack, image_keys=()), 0) is None


def test_a_weighted_image_is_known_by_its_key_and_its_dose(series):
    one, other = weighted(series), weighted(series, 4.0)
    assert one.image_keys == ()  # these are other pixels
    assert image_facts(series, one, 0) != image_facts(series, series.stack, 0)
    assert image_facts(series, one, 0) != image_facts(series, other, 0)
    assert image_facts(series, one, 0)[0] == "a"
    assert image_facts(series, one, 2) is None


def test_weights_on_other_pixels_are_not_known(series, tmp_path):
    path = write_mrc(tmp_path / "others.mrc", np.ones((3, 8, 8), np.float32), 2.0).path
    others = DoseWeighted(MrcPixels(path), ((0.0, 3.0),) * 3, "mean", 300.0, 2.0)
    assert image_facts(series, Stack(others, 2.0), 0) is None


def test_arrays_are_made_once_while_a_series_grows(series, context):
    made = []

    def make(section):
        made.append(section)
        return {"mean": series.stack.images[section].mean(keepdims=True)}

    context.grows = True
    images = PreparedImages(context, series, series.stack, "means", 2.0)
    images.prepare([0, 1, 2], make)
    images.prepare([0, 1, 2], make)
    assert sorted(made) == [0, 1]  # the third has no key
    context.grows = False
    found = PreparedImages(context, series, series.stack, "means", 2.0)(1, lambda: make(1))
    assert sorted(made) == [0, 1]
    np.testing.assert_array_equal(found["mean"], series.stack.images[1].mean(keepdims=True))
    PreparedImages(context, series, series.stack, "means", 3.0)(1, lambda: make(1))  # other settings
    PreparedImages(context, series, series.stack, "sums", 2.0)(1, lambda: make(1))
    assert sorted(made) == [0, 1, 1, 1]


def test_a_batch_run_keeps_nothing(series, context):
    assert prepared(context, ("a",), lambda: {"x": np.ones(1)})["x"] == 1
    assert prepared(context, None, lambda: {"x": np.ones(1)})["x"] == 1
    assert context.kept == {}
