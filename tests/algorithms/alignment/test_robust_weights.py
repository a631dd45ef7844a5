"""Tukey weights: outliers count nothing, and the scale of a view is that of its residuals."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.alignment.robust_weights import residual_scale, robust_weights
from cryoloom.algorithms.alignment.tracks import Tracks


@pytest.fixture
def tracks():
    view, point = (index.ravel() for index in np.mgrid[:5, :200])
    return Tracks(view, point, np.zeros((1000, 2)), np.ones(1000), 5, 200)


def test_the_scale_is_the_deviation_of_a_coordinate(rng):
    # 20,000 residuals: the median is known to a percent.
    assert residual_scale(rng.normal(0, 3.0, (20_000, 2))) == pytest.approx(3.0, rel=0.02)
    assert residual_scale(np.full((3, 2), np.nan)) == 1.0


def test_outliers_have_no_weight_and_good_ones_nearly_all(tracks, rng):
    residual = rng.normal(0, 2.0, (1000, 2))
    residual[::50] = 60.0
    weight, biweight = robust_weights(tracks, residual, 1.0)
    assert (biweight[::50] == 0).all()
    assert (weight[::50] == 0).all()
    good = np.delete(biweight, np.arange(0, 1000, 50))
    assert good.mean() > 0.8  # 0.84 for normal errors at 4.685 deviations
    assert ((0 <= biweight) & (biweight <= 1)).all()


def test_a_noisy_view_counts_less(tracks, rng):
    residual = rng.normal(0, 2.0, (1000, 2))
    residual[tracks.view == 4] *= 5
    weight, biweight = robust_weights(tracks, residual, 1.0)
    precision = weight[biweight > 0] / biweight[biweight > 0]
    of_view = tracks.view[biweight > 0]
    assert precision[of_view == 4].mean() < 0.6 * precision[of_view == 0].mean()
    assert 0.25 <= precision.min() <= precision.max() <= 4.0


def test_missing_residuals_have_no_weight(tracks, rng):
    residual = rng.normal(0, 2.0, (1000, 2))
    residual[3] = np.nan
    weight, biweight = robust_weights(tracks, residual, 1.0)
    assert weight[3] == biweight[3] == 0
