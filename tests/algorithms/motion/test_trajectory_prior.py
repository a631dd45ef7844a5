"""The distribution of drifts of one series, learned from its movies."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.algorithms.motion.trajectory_prior import ShiftMeasurement, TrajectoryPrior, learn_prior


def measured(rng, prior, n_movies, n_frames=8, information=50.0):
    """Movies drawn from a prior, each with the noise its information says."""
    root = np.linalg.cholesky(prior.covariance(n_frames) + 1e-9 * np.eye(n_frames))
    # h (n I - 1 1^T) of the contrasts is h n.
    noise = 1 / np.sqrt(n_frames * information)
    return [
        ShiftMeasurement(
            root @ rng.standard_normal((n_frames, 2)) + noise * rng.standard_normal((n_frames, 2)),
            np.full(2, information),
        )
        for _ in range(n_movies)
    ]


def test_the_prior_is_given_in_angstrom_and_used_in_pixels():
    start = TrajectoryPrior.start(2.0)
    np.testing.assert_allclose(start.as_array(), [3.0, 1.0, 0.2])


def test_covariances_are_positive_and_grow_during_the_exposure():
    covariance = TrajectoryPrior(3.0, 1.0, 0.2).covariance(10)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert (np.diff(np.diag(covariance)) > 0).all()


@pytest.mark.parametrize("truth", [(0.5, 0.2, 0.3), (8.0, 1.0, 0.1)])
def test_a_series_teaches_its_own_sizes(rng, truth):
    prior = TrajectoryPrior(*truth)
    learned = learn_prior(measured(rng, prior, 60), TrajectoryPrior(3.0, 1.0, 0.2))
    # 120 draws fix a deviation to 7 %; drift and walk trade with one another.
    total = [p.covariance(8).trace() for p in (learned, prior)]
    assert total[0] == pytest.approx(total[1], rel=0.5)
    assert learned.jitter_px == pytest.approx(truth[2], rel=0.5)


def test_nothing_is_learned_from_single_frames():
    start = TrajectoryPrior(3.0, 1.0, 0.2)
    one = ShiftMeasurement(np.zeros((1, 2)), np.zeros(2))
    np.testing.assert_allclose(learn_prior([one], start).as_array(), start.as_array(), rtol=0.05)
