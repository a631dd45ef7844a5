"""A slab drawn in a tomogram and kept in the frame of the poses is the same planes in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.algorithms.series.specimen_frame import series_in_slab
from cryoloom.model import Slab, Sourced, TiltSeries
from cryoloom.web.drawn.slab_frames import slab_in_poses, slab_in_tomogram
from makers.made_series import aligned, make_series

SLAB = {"thickness_angstrom": 1100.0, "z_offset_angstrom": 130.0, "tilt_x_deg": 4.0, "tilt_y_deg": -9.0}


@pytest.fixture
def flat() -> TiltSeries:
    """A series whose slab was applied."""
    slab = Slab(**{name: Sourced(measured=value) for name, value in SLAB.items()})
    return series_in_slab(replace(aligned(make_series()), slab=slab))


def test_what_was_measured_is_a_flat_slab_in_its_own_frame(flat: TiltSeries) -> None:
    drawn = {"thickness_angstrom": 1100.0, "z_offset_angstrom": 0.0, "tilt_x_deg": 0.0, "tilt_y_deg": 0.0}
    assert slab_in_poses(drawn, flat) == pytest.approx(SLAB, abs=1e-3)
    assert slab_in_tomogram(SLAB, flat) == pytest.approx(drawn, abs=1e-2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_there_and_back(flat: TiltSeries, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = {
        "thickness_angstrom": 900.0,
        "z_offset_angstrom": float(rng.uniform(-300, 300)),
        "tilt_x_deg": float(rng.uniform(-12, 12)),
        "tilt_y_deg": float(rng.uniform(-12, 12)),
    }
    assert slab_in_tomogram(slab_in_poses(drawn, flat), flat) == pytest.approx(drawn, abs=0.02)


def test_without_an_applied_slab_the_frames_are_one() -> None:
    assert slab_in_poses(SLAB, None) == pytest.approx(SLAB)
    assert slab_in_tomogram(SLAB, aligned(make_series())) == pytest.approx(SLAB)
