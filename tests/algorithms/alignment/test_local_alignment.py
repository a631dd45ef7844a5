"""Local alignment from tracks: found where ice bends, refused where only noise would be explained."""

import numpy as np
import pytest

from cryoloom.algorithms.alignment.bundle_adjustment import adjust_bundle
from cryoloom.algorithms.alignment.local_alignment import LocalPrior, find_local_alignment
from cryoloom.algorithms.alignment.tracks import Tracks, residuals, triangulate
from cryoloom.algorithms.alignment.view_variables import DegreesOfFreedom
from cryoloom.algorithms.series.series_geometry import SeriesGeometry

FIELD = 4000.0
TILTS = np.arange(-60.0, 61.0, 6.0)
EXPOSURE = np.argsort(np.argsort(np.abs(TILTS), kind="stable"))
PRIORS = (LocalPrior(3.0, 0.9), LocalPrior(8.0, 0.9))


def domed(points, exposure, radial_angstrom, bulge_angstrom):
    """Ice that stretches and bulges with dose: 6 e/A^2 an exposure, 1 - e^-1 of it after 25."""
    x, y, _ = points.T
    part = 1 - np.exp(-6.0 * exposure / 25.0)
    half = FIELD / 2
    bulge = bulge_angstrom * (1 - (x**2 + y**2) / half**2)
    return points + part * np.column_stack([radial_angstrom * x / half, radial_angstrom * y / half, bulge])


def seen(truth, points, radial_angstrom, bulge_angstrom):
    """Positions ``(n_points, n_views, 2)``, NaN outside the field."""
    views = [
        truth.project(domed(points, exposure, radial_angstrom, bulge_angstrom))[view]
        for view, exposure in enumerate(EXPOSURE)
    ]
    table = np.array(views).transpose(1, 0, 2)
    table[(np.abs(table) > FIELD / 2).any(axis=2)] = np.nan
    return table


def solved(seed, radial_angstrom, bulge_angstrom, *, n_points=25, noise_angstrom=2.0):
    """What was chosen, and the rms error of projections of points it never saw: rigid and as chosen."""
    rng = np.random.default_rng(seed)
    truth = SeriesGeometry.start(TILTS, 85.3, rng.normal(0, 60, (len(TILTS), 2)))
    table = seen(
        truth, rng.uniform(-1, 1, (n_points, 3)) * [2000, 2000, 600], radial_angstrom, bulge_angstrom
    )
    tracks = Tracks.from_table(table + rng.normal(0, noise_angstrom, table.shape))
    rigid = adjust_bundle(tracks, SeriesGeometry.start(TILTS, 84.0), DegreesOfFreedom())
    choice = find_local_alignment(tracks, rigid, DegreesOfFreedom(), (FIELD, FIELD), EXPOSURE, PRIORS)
    fresh = Tracks.from_table(
        seen(truth, rng.uniform(-1, 1, (200, 3)) * [1800, 1800, 600], radial_angstrom, bulge_angstrom)
    )
    errors = [blur(fresh, rigid.geometry, [None] * len(TILTS))]
    if choice.local is not None:
        errors.append(blur(fresh, choice.local.solution.geometry, choice.local.warps))
    return choice, errors


def blur(tracks, geometry, warps):
    """Rms by which the projections of points miss one place in space each."""
    straight = tracks.position_xy_angstrom.copy()
    for view, warp in enumerate(warps):
        mine = tracks.view == view
        if warp is not None:
            straight[mine] = warp.undisplaced(straight[mine])
    moved = Tracks(tracks.view, tracks.point, straight, tracks.weight, tracks.n_views, tracks.n_points)
    left = residuals(moved, geometry, triangulate(moved, geometry, moved.weight))
    return np.sqrt(np.mean((left**2).sum(axis=1)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bending_ice_is_followed(seed):
    choice, errors = solved(seed, 15.0, 60.0)
    assert choice.local is not None
    assert np.nanmedian(choice.error_angstrom) < np.nanmedian(choice.rigid_error_angstrom)
    assert errors[1] < 0.65 * errors[0]
    assert choice.local.solution.mean_residual_angstrom is not None
    assert len(choice.tried) == len(PRIORS)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_where_nothing_bends_nothing_is_used(seed):
    choice, errors = solved(seed, 0.0, 0.0)
    assert choice.local is None
    assert choice.significance < 2.0
    assert errors[0] < 1.2


def test_few_tracks_decide_nothing():
    choice, _ = solved(1, 15.0, 60.0, n_points=6, noise_angstrom=8.0)
    assert choice.local is None
