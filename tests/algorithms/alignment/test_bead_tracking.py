"""Beads are joined into tracks although images were placed by something else in part of the series."""

import numpy as np
import pytest
import torch

from cryoloom.algorithms.alignment.bead_tracking import track_beads
from cryoloom.algorithms.alignment.cross_validation import pose_distances
from cryoloom.algorithms.series.bead_maps import bead_maps
from cryoloom.algorithms.series.series_geometry import SeriesGeometry, geometry_of_poses
from cryoloom.algorithms.series.tilt_images import TiltImages
from makers.bead_images import DIAMETER, PIXEL, bead_series


def _images(series):
    pixels = torch.from_numpy(np.asarray(series.stack.images))
    level = pixels.mean(dim=(1, 2), keepdim=True)
    return TiltImages(pixels - level, PIXEL, level.flatten().numpy(), pixels.std(dim=(1, 2)).numpy())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("jump_angstrom", [0.0, 550.0])
def test_beads_are_followed_where_the_images_were_placed_by_something_else(seed, jump_angstrom):
    """Gold far above the ice leaves the reach of the first alignment: 550 A off from one tilt to the next."""
    series, beads, _ = bead_series(np.random.default_rng(seed), n_beads=16)
    truth = geometry_of_poses([tilt.pose for tilt in series.tilts])
    shift = truth.shift_xy_angstrom.copy()
    shift[truth.tilt_deg > 20] += [0.6 * jump_angstrom, 0.8 * jump_angstrom]
    start = SeriesGeometry.start(truth.tilt_deg, truth.mean_axis_deg + 1.0, shift)
    everything = np.ones(len(shift), dtype=bool)
    found = track_beads(bead_maps(_images(series), DIAMETER), start, everything)
    assert found is not None
    counts = found.solution.view_residuals_angstrom(found.tracks)[1]
    assert counts.min() >= 4
    miss = pose_distances(truth, found.solution.geometry, beads, everything)
    assert miss.max() < 0.5 * PIXEL


@pytest.mark.parametrize("thickness_angstrom", [900.0, 1400.0, 2000.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_beads_on_both_surfaces_are_followed_together(seed, thickness_angstrom):
    """From one tilt to the next the two surfaces move 110 to 240 A against each other: each is consistent."""
    series, beads, _ = bead_series(np.random.default_rng(seed), n_beads=14, on_both=thickness_angstrom)
    truth = geometry_of_poses([tilt.pose for tilt in series.tilts])
    start = SeriesGeometry.start(truth.tilt_deg, truth.mean_axis_deg + 1.0, truth.shift_xy_angstrom)
    everything = np.ones(truth.n_views, dtype=bool)
    found = track_beads(bead_maps(_images(series), DIAMETER), start, everything)
    assert found is not None
    miss = pose_distances(truth, found.solution.geometry, beads, everything)
    assert miss.max() < 0.5 * PIXEL
    assert np.ptp(found.solution.points_xyz_angstrom[:, 2]) == pytest.approx(
        thickness_angstrom, abs=2 * PIXEL
    )
