"""Tracks of points through a series of known geometry, with noise, gaps and outliers."""

import numpy as np

from cryoloom.algorithms.alignment.tracks import Tracks
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

TILTS = np.arange(-60.0, 61.0, 5.0)


def known_tracks(rng, noise_angstrom=0.0, outliers=0.0, gaps=0.0, axis_deg=85.3, n_points=20):
    """Geometry, points ``(n, 3)`` and their tracks."""
    truth = SeriesGeometry.start(TILTS, axis_deg, rng.normal(0, 80, (len(TILTS), 2)))
    points = rng.uniform(-1, 1, (n_points, 3)) * [1000, 1000, 400]
    table = truth.project(points).transpose(1, 0, 2) + rng.normal(
        0, noise_angstrom, (n_points, len(TILTS), 2)
    )
    wrong = rng.random(table.shape[:2]) < outliers
    table[wrong] += rng.uniform(-400, 400, (wrong.sum(), 2))
    table[rng.random(table.shape[:2]) < gaps] = np.nan
    return truth, points, Tracks.from_table(table)
