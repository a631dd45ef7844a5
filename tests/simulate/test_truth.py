"""What is true of a simulated series: points of the ice, its defocus, and the file that keeps it."""

import numpy as np
import pytest

from cryoloom.model import Pose
from cryoloom.simulate.assess import (
    defocus_errors_angstrom,
)
from cryoloom.simulate.truth import Truth
from makers.simulated_truth import series, truth

__all__ = ["series", "truth"]


def test_points_fill_the_ice_seen_untilted(truth, rng):
    points = truth.random_specimen_points(rng, 500)
    in_ice = (points - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
    assert np.abs(in_ice[:, 2]).max() <= 600.001
    least = truth.tilts[0]
    image = points @ least.pose.matrix[:2].T + least.shift_xy_angstrom
    assert np.abs(image[:, 0]).max() <= 1800
    assert np.abs(image[:, 1]).max() <= 1280
    assert image[:, 0].std() == pytest.approx(3600 / np.sqrt(12), rel=0.1)


def test_defocus_of_the_ice_at_the_image_centre(truth, series):
    for tilt in truth.tilts:
        # A point of the ice's middle plane that falls on the image's centre has that defocus.
        w = tilt.defocus_angstrom - truth.defocus_of_ice_angstrom(tilt.acquisition_index)
        point = tilt.pose.matrix.T @ np.array([*(-np.array(tilt.shift_xy_angstrom)), w])
        in_ice = (point - [0, 0, truth.z_offset_angstrom]) @ truth.slab_rotation
        assert in_ice[2] == pytest.approx(0, abs=1e-9)
    errors = defocus_errors_angstrom(truth, series, at="ice")
    assert errors[0] == pytest.approx(truth.tilts[0].defocus_angstrom - truth.defocus_of_ice_angstrom(0))


def test_truth_survives_its_file(truth, tmp_path):
    truth.save(tmp_path / "truth.json")
    back = Truth.load(tmp_path / "truth.json")
    assert back.tilts == truth.tilts
    assert back.tilts[0].pose == Pose(
        truth.tilts[0].axis_deg, truth.tilts[0].tilt_deg, 0.0, truth.tilts[0].shift_xy_angstrom
    )
