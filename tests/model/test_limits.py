"""What no number of an experiment can be never becomes a model value, imported or computed."""

import math
from dataclasses import replace

import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Microscope, Pose, Stack, Tilt
from cryoloom.model.limits import plausible, require, require_shift_in_field

POSE, CTF, TILT = Pose(85.0, 3.0), Ctf(4e4, 4e4, 0.0), Tilt(0, 3.0, 0.0, 3.0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e24])
@pytest.mark.parametrize(
    ("whole", "field"),
    [
        (POSE, "axis_deg"),
        (POSE, "tilt_deg"),
        (POSE, "x_tilt_deg"),
        (POSE, "magnification"),
        (CTF, "defocus_u_angstrom"),
        (CTF, "defocus_v_angstrom"),
        (CTF, "astigmatism_angle_deg"),
        (CTF, "phase_shift_deg"),
        (TILT, "nominal_tilt_deg"),
        (TILT, "dose_start_per_angstrom2"),
        (TILT, "dose_end_per_angstrom2"),
        (Microscope(), "voltage_kv"),
        (Stack(None, 1.0), "pixel_size_angstrom"),
    ],
)
def test_impossible_values_are_refused(whole, field, value):
    with pytest.raises(DataUnfitError, match="expected"):
        replace(whole, **{field: value})


@pytest.mark.parametrize(
    ("whole", "change"),
    [
        (POSE, {"axis_deg": -856.0}),
        (POSE, {"tilt_deg": 90.5}),
        (POSE, {"shift_xy_angstrom": (0.0, math.nan)}),
        (CTF, {"defocus_u_angstrom": 1e7}),  # a millimetre
        (TILT, {"dose_start_per_angstrom2": -1.0}),
        (Stack(None, 1.0), {"pixel_size_angstrom": 0.0}),
    ],
)
def test_wrong_units_are_refused(whole, change):
    with pytest.raises(DataUnfitError):
        replace(whole, **change)


def test_messages_name_the_place_and_what_is_allowed():
    with pytest.raises(
        DataUnfitError, match=r"the tilt angle in line 3 of a\.tlt is 123; expected -90 to 90 degrees"
    ):
        require("tilt angle", 123.0, "line 3 of a.tlt")
    assert plausible("pixel size", 0.0) is None
    assert plausible("pixel size", 1.35) == 1.35
    assert plausible("voltage", None) is None


def test_shifts_of_many_fields_are_refused():
    require_shift_in_field((400.0, -100.0), (640.0, 512.0), "view 1")
    with pytest.raises(DataUnfitError, match="view 2 is 2000 A in a field of 640 A"):
        require_shift_in_field((2000.0, 0.0), (640.0, 512.0), "view 2")
