"""Candidates: correlation as a sum, peaks between voxels, none too near another."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import correlate

from cryoloom.algorithms.picking.candidates import (
    correlate_volume,
    find_candidates,
    keep_apart,
    radial_power,
    typical_density,
)


def test_the_correlation_is_the_sum_over_the_template(rng):
    volume = rng.standard_normal((13, 16, 15)).astype(np.float32)
    template = rng.standard_normal((5, 5, 5)).astype(np.float32)
    found = correlate_volume(torch.from_numpy(volume), torch.from_numpy(template)).numpy()
    assert_allclose(found, correlate(volume, template, mode="constant"), atol=2e-4)


def test_peaks_are_found_between_voxels(rng):
    places = np.array([[15.3, 20.6, 30.1], [16.0, 40.2, 12.4], [14.8, 30.0, 45.5]])
    grid = np.stack(np.mgrid[:30, :55, :60], axis=-1)
    height = sum(np.exp(-((grid - place) ** 2).sum(axis=-1) / (2 * 3.0**2)) for place in places)
    noise = 0.01 * rng.standard_normal(height.shape)
    found = find_candidates(
        (30 * height + noise).astype(np.float32),
        np.ones(height.shape, np.float32),
        apart_voxels=8,
        margin_voxels=5,
        least_significance=5.0,
        most=10,
    )
    assert len(found.significance) == 3
    order = np.lexsort(found.index_zyx.T)
    assert_allclose(found.index_zyx[order], places[np.lexsort(places.T)], atol=0.1)
    assert (np.diff(found.significance) <= 0).all()


def test_places_that_few_images_see_and_faces_are_left_out():
    height = np.zeros((20, 20, 20), np.float32)
    height[10, 10, 10] = height[10, 3, 10] = height[10, 10, 15] = 50
    energy = np.ones_like(height)
    energy[:, :, 14:] = 0.01
    found = find_candidates(height, energy, apart_voxels=3, margin_voxels=5, least_significance=5.0, most=10)
    assert_allclose(found.index_zyx, [[10, 10, 10]])


def test_the_better_one_of_two_near_places_is_kept():
    places = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 5], [0, 0, 6.5]])
    assert keep_apart(places, 2.0).tolist() == [0, 2]
    assert keep_apart(np.zeros((0, 3)), 2.0).tolist() == []


def test_radial_power_is_the_mean_squared_transform():
    density = torch.zeros((9, 9, 9))
    density[4, 4, 4] = 3.0
    assert_allclose(radial_power(density, np.linspace(0, 0.5, 7)), 9.0)


def test_the_typical_density_is_that_of_particles_in_a_crowd(rng):
    particles, crowd = rng.normal(6.0, 0.6, 40), rng.normal(1.5, 0.3, 100)
    assert abs(typical_density(np.concatenate([particles, crowd])) - 6.0) < 1.0
    # A few beads do not change it.
    assert abs(typical_density(np.concatenate([particles, np.full(2, 40.0)])) - 6.0) < 1.0
