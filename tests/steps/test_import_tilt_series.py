"""Import of stacks: angles, doses and order come from the files beside them, and counts must match."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import write_mrc
from cryoloom.steps.import_tilt_series import ImportTiltSeriesParams, import_tilt_series

ANGLES = (-6, -3, 0, 3, 6)


def write_stack(folder, name="TS_01", angles=ANGLES, pixel_size_angstrom=2.7):
    path = folder / f"{name}.mrc"
    write_mrc(
        path, np.arange(len(angles), dtype=np.float32)[:, None, None] * np.ones((8, 6)), pixel_size_angstrom
    )
    (folder / f"{name}.rawtlt").write_text("\n".join(f"  {angle:.2f}" for angle in angles))
    return path


def only(context, **params):
    (made,) = import_tilt_series(ImportTiltSeriesParams(**params), context)
    return made


def spoilt(context, **params):
    made = only(context, **params)
    assert isinstance(made, DataUnfitError)
    assert made.facts["series"] == "TS_01"
    return str(made)


def test_the_real_series(data, context):
    series = only(context, stack=data / "tilt-series" / "empiar-10499" / "00254.mrc", tilt_axis_deg=0)
    assert (series.name, len(series.tilts)) == ("00254", 41)
    assert series.stack.images.shape == (41, 630, 652)
    assert series.pixel_size_angstrom == pytest.approx(10, abs=0.01)
    assert_array_equal(series.tilt_deg, np.arange(-60, 61, 3))
    assert [tilt.section for tilt in series.tilts] == list(range(41))
    assert series.tilts[0].dose_start_per_angstrom2 == 117
    first = min(series.tilts, key=lambda tilt: tilt.acquisition_index)
    assert (first.acquisition_index, first.dose_start_per_angstrom2) == (0, 0)
    assert sorted(tilt.acquisition_index for tilt in series.tilts) == list(range(41))
    assert series.tilt_axis_deg.applied == 0


def test_exposures_tell_the_order(tmp_path, context):
    path = write_stack(tmp_path)
    (tmp_path / "TS_01.exposure.txt").write_text("# pre, exposure\n6 2\n4 2\n0 2\n2 2\n8 3 # last\n")
    series = only(context, stack=path)
    assert [tilt.acquisition_index for tilt in series.tilts] == [3, 2, 0, 1, 4]
    assert [tilt.dose_end_per_angstrom2 for tilt in series.tilts] == [8, 6, 2, 4, 11]
    assert_array_equal(series.stack.images[3], np.full((8, 6), 3))


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("dose_symmetric", [3, 1, 0, 2, 4]),
        ("ascending", [0, 1, 2, 3, 4]),
        ("descending", [4, 3, 2, 1, 0]),
    ],
)
def test_a_scheme_tells_the_order(tmp_path, context, scheme, expected):
    path = write_stack(tmp_path)
    series = only(context, stack=path, dose_per_tilt_per_angstrom2=3, scheme=scheme)
    assert [tilt.acquisition_index for tilt in series.tilts] == expected
    assert_allclose([tilt.dose_start_per_angstrom2 for tilt in series.tilts], np.multiply(expected, 3.0))


def test_a_stack_that_is_not_sorted(tmp_path, context):
    path = write_stack(tmp_path, angles=(0, 3, -3, -6, 6))
    series = only(context, stack=path, dose_per_tilt_per_angstrom2=3)
    assert [tilt.section for tilt in series.tilts] == [3, 2, 0, 1, 4]


def test_a_stack_that_is_not_sorted_is_in_order_of_acquisition(tmp_path, context):
    path = write_stack(tmp_path, angles=(0, 3, 6, -3, -6))  # dose-symmetric in groups of two
    series = only(context, stack=path, dose_per_tilt_per_angstrom2=3)
    assert [tilt.acquisition_index for tilt in series.tilts] == [4, 3, 0, 1, 2]
    assert any("assumed as in the stack" in warning for warning in context.warnings)


def test_the_mdoc_of_a_real_series(data, tmp_path, context):
    source = data / "mdoc" / "serialem_prior-dose_017.mdoc"
    (tmp_path / "TS_017.mrc.mdoc").write_bytes(source.read_bytes())
    write_mrc(tmp_path / "TS_017.mrc", np.ones((60, 8, 6), np.float32), 1.971)
    series = only(context, stack=tmp_path / "TS_017.mrc", tilt_axis_deg=80)
    assert (series.tilt_axis_deg.told, series.tilt_axis_deg.applied) == (82.9, 80)
    assert series.tilts[0].dose_start_per_angstrom2 == pytest.approx(134.379)
    assert series.tilts[0].acquired_at is not None
    assert sorted(tilt.acquisition_index for tilt in series.tilts) == list(range(60))


def test_a_folder_of_stacks(tmp_path, context):
    for name in ("TS_01", "TS_02", "other"):
        write_stack(tmp_path, name)
    (tmp_path / "TS_01.rawtlt").write_text("0\n3\n")
    params = ImportTiltSeriesParams(stack=tmp_path, stacks="TS_*", dose_per_tilt_per_angstrom2=3)
    bad, good = import_tilt_series(params, context)
    assert "TS_01.rawtlt has 2 lines, but TS_01.mrc has 5 sections" in str(bad)
    assert good.name == "TS_02"


def test_counts_must_match(tmp_path, context):
    path = write_stack(tmp_path)
    (tmp_path / "TS_01.exposure.txt").write_text("0 2\n" * 4)
    assert "TS_01.exposure.txt has 4 lines, but TS_01.mrc has 5 sections" in spoilt(context, stack=path)


def test_no_dose_given(tmp_path, context):
    path = write_stack(tmp_path)
    assert "no source gives the dose of TS_01.mrc; give dose_per_tilt" in spoilt(context, stack=path)
    (tmp_path / "TS_01.exposure.txt").write_text("0 0\n" * 5)
    assert "contains no dose for section 0" in spoilt(context, stack=path)


def test_no_angles_given(tmp_path, context):
    path = write_stack(tmp_path)
    (tmp_path / "TS_01.rawtlt").unlink()
    assert "no tilt angles are given" in spoilt(context, stack=path)


def test_what_is_no_angle(tmp_path, context):
    path = write_stack(tmp_path)
    (tmp_path / "TS_01.rawtlt").write_text("-6\nabc\n")
    assert "line 2 of TS_01.rawtlt is 'abc'; expected one tilt angle a line" in spoilt(context, stack=path)


def test_a_truncated_stack(tmp_path, context):
    path = write_stack(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "TS_01.mrc is truncated" in spoilt(context, stack=path)


def test_a_single_section(tmp_path, context):
    assert "too few sections" in spoilt(context, stack=write_stack(tmp_path, angles=(0,)))


def test_no_pixel_size_given(tmp_path, context):
    path = write_stack(tmp_path, pixel_size_angstrom=0.0)
    assert "gives no pixel size" in spoilt(context, stack=path, dose_per_tilt_per_angstrom2=3)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"stack": "none.mrc"}, r"none\.mrc does not exist; correct the parameter stack"),
        ({"angles": "none.tlt"}, r"none\.tlt does not exist; correct the parameter angles"),
        ({"series": "TS_07"}, "there is no stack"),
    ],
)
def test_wrong_requests(tmp_path, context, params, says):
    path = write_stack(tmp_path)
    with pytest.raises(UserInputError, match=says):
        only(context, **({"stack": path} | params))
