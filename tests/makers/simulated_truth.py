"""A truth without pixels, and a series that has it."""

import numpy as np
import pytest

from cryoloom.model import Microscope, Tilt, TiltSeries
from cryoloom.simulate.parameters import SimulationParams
from cryoloom.simulate.stage import tilt_truths
from cryoloom.simulate.truth import Truth


@pytest.fixture
def truth(rng):
    params = SimulationParams(tilt_min_deg=-60, tilt_max_deg=60, tilt_step_deg=12)
    return Truth(
        series="TS_01",
        seed=1,
        pixel_size_angstrom=5.0,
        image_shape_yx=(512, 720),
        tilts=tilt_truths(params, rng),
        tilt_axis_deg=params.tilt_axis_deg,
        told_axis_deg=params.tilt_axis_deg,
        handedness=1,
        thickness_angstrom=1200.0,
        z_offset_angstrom=80.0,
        pretilt_x_deg=0.8,
        pretilt_y_deg=-2.5,
        particles=(),
        beads_xyz_angstrom=np.zeros((0, 3)),
        bead_diameter_angstrom=100.0,
        vesicles_xyz_angstrom=np.zeros((0, 3)),
    )


@pytest.fixture
def series(truth):
    tilts = tuple(
        Tilt(
            t.acquisition_index, t.nominal_tilt_deg, t.dose_start_per_angstrom2, t.dose_end_per_angstrom2,
            pose=t.pose, ctf=t.ctf, frame_shifts_yx_angstrom=t.frame_shifts_yx_angstrom,
        )
        for t in truth.tilts
    )  # fmt: skip
    return TiltSeries("TS_01", Microscope(), 5.0, tilts)
