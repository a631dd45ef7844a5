"""Usual times grow with what a step reads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoloom.contract.usual_time import UsualTime
from cryoloom.model import Microscope, Movie, Stack, Tilt, TiltSeries

TILTS = tuple(
    Tilt(k, 3.0 * k, 3.0 * k, 3.0 * k + 3.0, movie=Movie(Path(f"{k}.tif"), 10, (1000, 2000)))
    for k in range(5)
)
MOVIES = TiltSeries("TS_01", Microscope(), 2.5, TILTS)


@pytest.mark.parametrize(("of", "gigapixels"), [("frames", 0.1), ("images", 0.01)])
def test_by_the_movies_of_a_series_that_has_no_images_yet(of, gigapixels):
    assert UsualTime(3.0, 50.0, of).of_series(MOVIES) == pytest.approx(3.0 + 50.0 * gigapixels)


def test_by_the_images_there_are():
    series = replace(MOVIES, stack=Stack(np.zeros((5, 10, 20), np.float32), 2.5))
    assert UsualTime(0.0, 1e9).of_series(series) == pytest.approx(5 * 10 * 20)
