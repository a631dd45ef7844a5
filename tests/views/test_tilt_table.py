"""The table of tilts holds what the series knows of each, excluded ones too."""

import dataclasses

import pytest

from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Stack, Tilt, TiltSeries
from cryoloom.views.tilt_table import TILT_COLUMNS, TiltRow, is_limited_by_pixels, tilt_rows


def make_series():
    tilts = (
        Tilt(1, -3.0, 3.0, 6.0, section=0, exclusion=Exclusion.by_step("dark: 10 %", "select_tilts")),
        Tilt(
            0,
            0.0,
            0.0,
            3.0,
            section=1,
            frame_shifts_yx_angstrom=((0.0, 0.0), (3.0, 4.0), (3.0, 6.0)),
            ctf=Ctf(31000.0, 30000.0, 12.0, fit_resolution_angstrom=5.6),
            pose=Pose(85.0, 0.4, shift_xy_angstrom=(10.0, -20.0), residual_angstrom=2.5),
        ),
        Tilt(
            2,
            3.0,
            6.0,
            9.0,
            ctf=Ctf(30000.0, 30000.0, 0.0, predicted=True),
            pose=Pose(85.0, 3.0, predicted=True),
        ),
    )
    return TiltSeries("TS_01", Microscope(), 2.6, tilts, stack=Stack(None, 2.6))


def test_every_tilt_is_a_row_of_what_is_known():
    dark, whole, predicted = tilt_rows(make_series())
    assert (dark.is_kept, dark.reason, dark.motion_angstrom, dark.defocus_u_angstrom) == (
        False, "dark: 10 %", None, None,
    )  # fmt: skip
    assert (whole.acquisition_index, whole.tilt_deg, whole.dose_end_per_angstrom2) == (0, 0.4, 3.0)
    assert whole.motion_angstrom == pytest.approx(7.0)
    assert (whole.defocus_u_angstrom, whole.defocus_v_angstrom) == (31000.0, 30000.0)
    assert (whole.shift_x_angstrom, whole.shift_y_angstrom, whole.residual_angstrom) == (10.0, -20.0, 2.5)
    assert whole.remarks == ("CTF fit limited by the pixel size",)
    assert predicted.remarks == (
        "no rings visible; CTF predicted",
        "nothing tracked; pose from the neighbours",
    )


@pytest.mark.parametrize(
    ("resolution", "limited"),
    [(5.2, True), (5.7, True), (5.9, False), (8.0, False), (4.0, False), (None, False)],
)
def test_a_fit_is_limited_by_pixels_at_the_end_of_the_band(resolution, limited):
    # 2.6 A pixels: Nyquist's is 5.2 A, fits end at 5.47 A; finer ones come from images before binning.
    assert is_limited_by_pixels(Ctf(3e4, 3e4, 0.0, fit_resolution_angstrom=resolution), 2.6) == limited


def test_columns_name_fields_of_a_row():
    fields = {field.name for field in dataclasses.fields(TiltRow)}
    assert {column.field for column in TILT_COLUMNS} <= fields
