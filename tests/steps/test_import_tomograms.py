"""Tomograms of other programs: their files, axes, halves, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.mrc import MrcPixels, write_mrc
from cryoloom.steps.import_tomograms import ImportTomogramsParams, import_tomograms
from makers.context import MemoryContext

SHAPE = (12, 30, 40)


@pytest.fixture
def volume(rng):
    return rng.normal(0, 1, SHAPE).astype(np.float32)


def imported(folder, context=None, **more):
    params = ImportTomogramsParams(directory=folder, **more)
    return list(import_tomograms(params, context or MemoryContext()))


def test_a_tomogram_and_its_halves_stay_where_they_are(tmp_path, volume, rng):
    half = rng.normal(0, 1, SHAPE).astype(np.float32)
    write_mrc(tmp_path / "rec_TS_01.mrc", volume, 10.0, kind="volume")
    write_mrc(tmp_path / "rec_TS_01_half1.mrc", half, 10.0, kind="volume")
    write_mrc(tmp_path / "rec_TS_01_half2.mrc", 2 * volume - half, 10.0, kind="volume")
    (made,) = imported(tmp_path, voltage_kv=200.0)
    assert isinstance(made.volume, MrcPixels)
    assert made.volume.path == tmp_path / "rec_TS_01.mrc"
    assert (made.name, made.voxel_size_angstrom, made.series.tilts) == ("TS_01", 10.0, ())
    assert made.series.microscope.voltage_kv == 200.0
    assert_array_equal(made.volume[...], volume)
    assert_array_equal(made.even[...], half)
    assert made.odd is not None


def test_halves_alone_give_their_mean(tmp_path, volume, rng):
    half = rng.normal(0, 1, SHAPE).astype(np.float32)
    write_mrc(tmp_path / "TS_01_EVN_Vol.mrc", half, 10.0, kind="volume")
    write_mrc(tmp_path / "TS_01_ODD_Vol.mrc", 2 * volume - half, 10.0, kind="volume")
    (made,) = imported(tmp_path)
    assert_allclose(made.volume[3:5, 2], volume[3:5, 2], atol=1e-5)


def test_sections_along_y_are_read_as_imod_writes_them(tmp_path, volume):
    """IMOD's tilt: one section for each y, its rows z from the top down."""
    stored = np.ascontiguousarray(volume[::-1].transpose(1, 0, 2))
    write_mrc(tmp_path / "TS_01_full_rec.mrc", stored, 10.0, kind="volume")
    context = MemoryContext()
    (made,) = imported(tmp_path, context)
    assert made.volume.shape == SHAPE
    assert_array_equal(made.volume[...], volume)
    assert_array_equal(made.volume[4], volume[4])
    assert_array_equal(made.volume[-3:, ::-1, 5], volume[-3:, ::-1, 5])
    assert any("middle axis" in line for line in context.warnings)
    asked = MemoryContext()
    (same,) = imported(tmp_path, asked, axes="xzy", mirrored_z=False)
    assert_array_equal(same.volume[...], volume[::-1])
    assert not asked.warnings


def test_a_mirrored_volume_is_turned_back(tmp_path, volume):
    write_mrc(tmp_path / "TS_01.mrc", volume[::-1], 10.0, kind="volume")
    (made,) = imported(tmp_path, mirrored_z=True)
    assert_array_equal(made.volume[...], volume)
    assert_array_equal(made.volume[2:9:3, 1:3], volume[2:9:3, 1:3])
    assert_array_equal(made.volume[7, ..., 3], volume[7, ..., 3])


def test_only_what_is_asked_for(tmp_path, volume):
    for name in ("TS_01", "TS_02", "other"):
        write_mrc(tmp_path / f"{name}_10.00Apx.mrc", volume, 10.0, kind="volume")
    assert [one.name for one in imported(tmp_path, tomograms="TS_*")] == ["TS_01", "TS_02"]
    assert [one.name for one in imported(tmp_path, files="other*,*02*")] == ["TS_02", "other"]
    assert [one.name for one in imported(tmp_path / "TS_02_10.00Apx.mrc")] == ["TS_02"]


def test_what_cannot_be_right_gets_one_sentence(tmp_path, volume):
    with pytest.raises(UserInputError, match="does not exist; correct the parameter directory"):
        imported(tmp_path / "none")
    with pytest.raises(UserInputError, match="there is no tomogram"):
        imported(tmp_path)
    bad = volume.copy()
    bad[SHAPE[0] // 2, 3, 4] = np.nan
    write_mrc(tmp_path / "A.mrc", volume[:3], 10.0, kind="volume")
    write_mrc(tmp_path / "B.mrc", volume, 1.0, kind="volume")
    write_mrc(tmp_path / "C.mrc", bad, 10.0, kind="volume")
    write_mrc(tmp_path / "D.mrc", np.zeros_like(volume), 10.0, kind="volume")
    write_mrc(tmp_path / "E.mrc", volume, 10.0, kind="volume")
    write_mrc(tmp_path / "E_even.mrc", volume, 5.0, kind="volume")
    write_mrc(tmp_path / "E_odd.mrc", volume, 10.0, kind="volume")
    write_mrc(tmp_path / "F_even.mrc", volume, 10.0, kind="volume")
    write_mrc(tmp_path / "F_odd.mrc", volume[:, :20], 10.0, kind="volume")
    (tmp_path / "G.mrc").write_bytes(b"nothing")
    write_mrc(tmp_path / "H.mrc", volume, 10.0, kind="volume")
    made = imported(tmp_path)
    errors = {one.facts["series"]: one.message for one in made if isinstance(one, DataUnfitError)}
    assert [one.name for one in made if not isinstance(one, DataUnfitError)] == ["H"]
    for name, part in {
        "A": "not a tomogram", "B": "gives no voxel size", "C": "not finite numbers", "D": "one value alone",
        "E": "set voxel_size_angstrom", "F": "halves of the same tomogram", "G": "G.mrc",
    }.items():  # fmt: skip
        assert part in errors[name]
    assert [
        one.voxel_size_angstrom for one in imported(tmp_path, tomograms="E", voxel_size_angstrom=4.0)
    ] == [4.0]
