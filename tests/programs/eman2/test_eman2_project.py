"""What EMAN2 is given of a series projects points to where our poses do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.depth import defocus_change
from cryoloom.geometry.projection import project
from cryoloom.model import Pose
from cryoloom.programs.eman2.eman2_project import info_file, require_size
from makers.made_series import aligned, make_series

POINTS = np.array([[100.0, -80.0, 60.0], [-150.0, 40.0, -90.0], [0.0, 120.0, 30.0]])


def eman2_transform(turn_deg, tilt_deg, x_tilt_deg):
    """EMAN2's Transform of type xyz: rows of its matrix by name, as libEM/transform.cpp has them."""
    (cz, cy, cx), (sz, sy, sx) = (f(np.deg2rad([turn_deg, tilt_deg, x_tilt_deg])) for f in (np.cos, np.sin))
    return np.array(
        [
            [cy * cz, cx * sz + sx * sy * cz, sx * sz - cx * sy * cz],
            [-cy * sz, cx * cz - sx * sy * sz, sx * cz + cx * sy * sz],
            [sy, -sx * cy, cx * cy],
        ]
    )


@pytest.fixture
def series():
    made = aligned(make_series(n_tilts=5, shape_yx=(600, 640), step_deg=15.0))
    return made.with_tilts(
        {
            t.acquisition_index: {
                "pose": Pose(85.3, t.nominal_tilt_deg + 0.4, 1.3, (10.0 * t.acquisition_index, -3.0))
            }
            for t in made.tilts
        }
    )


@pytest.mark.parametrize(("upside_down", "hand"), [(True, -1.0), (False, 1.0)])
def test_points_and_defoci_are_ours(series, upside_down, hand):
    entries = json.loads(info_file("stack", series, upside_down=upside_down, binning=1, with_ctf=True))
    theirs = POINTS * ((1, 1, -1) if upside_down else (-1, -1, 1))
    for tilt in series.tilts:
        x, y, turn, angle, x_tilt = entries["tlt_params"][tilt.section]
        seen = theirs @ eman2_transform(turn, angle, x_tilt).T
        ours = project(POINTS, tilt.pose.matrix[None], np.array([tilt.pose.shift_xy_angstrom]))[0]
        assert_allclose(seen[:, :2] + np.array([x, y]) * 2.0, ours, atol=1e-3)
        # Its defocus at a tile is less by the third coordinate before the turn of the axis.
        depth = (theirs @ eman2_transform(0.0, angle, x_tilt).T)[:, 2]
        assert_allclose(-depth, defocus_change(POINTS @ tilt.pose.matrix[2], hand), atol=1e-9)
        assert entries["defocus"][tilt.section] == pytest.approx(tilt.ctf.defocus_angstrom / 1e4)


def test_binned_images_have_their_centre_elsewhere(series):
    one, four = (
        json.loads(info_file("stack", series, upside_down=True, binning=b, with_ctf=False)) for b in (1, 4)
    )
    moved = np.subtract(four["tlt_params"], one["tlt_params"])
    assert_allclose(moved[:, :2], -1.5, atol=1e-3)
    assert_allclose(moved[:, 2:], 0.0)
    assert "defocus" not in one


def test_what_eman2_cannot_be_given(series):
    bare = series.with_tilts({2: {"pose": None}})
    with pytest.raises(DataUnfitError, match="tilt 2 of TS_01 has no pose"):
        info_file("stack", bare, upside_down=True, binning=1, with_ctf=False)
    with pytest.raises(DataUnfitError, match="12 pixels on their short side"):
        require_size(make_series())
