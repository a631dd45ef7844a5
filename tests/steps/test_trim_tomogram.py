"""trim_tomogram: a voxel is seen where it was, whatever part is kept and however it is turned."""

import numpy as np
import pytest

from cryoloom.errors import UserInputError
from cryoloom.model import Ctf, Microscope, Pose, Sourced, Tilt, TiltSeries, Tomogram
from cryoloom.steps.trim_tomogram import TrimTomogramParams, trim_tomogram

VOXEL = 8.0


def make_tomogram(rng, shape=(20, 30, 40), dtype=np.float32):
    tilts = tuple(
        Tilt(
            i, a, 3.0 * i, 3.0 * i + 3, section=i, pose=Pose(85.0, a, 0.5, (9.0, 4.0)), ctf=Ctf(3e4, 3e4, 0.0)
        )
        for i, a in enumerate((-40.0, 0.0, 40.0))
    )
    series = TiltSeries("TS", Microscope(), 2.0, tilts, handedness=Sourced(applied=1.0))
    volume = rng.normal(size=shape).astype(dtype)
    return Tomogram(series, volume, VOXEL, even=volume * 2, odd=volume * 3)


def seen(pose, index, shape):
    position = (np.array(index) - np.array(shape) // 2)[::-1] * VOXEL
    return (pose.matrix @ position)[:2] + pose.shift_xy_angstrom


@pytest.mark.parametrize("half_turn", ["none", "x", "y", "z"])
@pytest.mark.parametrize("shape", [(20, 30, 40), (21, 31, 41)])
def test_voxels_are_seen_where_they_were(rng, context, half_turn, shape):
    tomogram = make_tomogram(rng, shape)
    params = TrimTomogramParams(
        thickness_angstrom=96,
        width_angstrom=160,
        middle_xyz_angstrom=(41.0, -24.0, 17.0),
        half_turn=half_turn,
    )
    after = trim_tomogram(tomogram, params, context)
    assert after.volume.shape[0] == 12
    assert after.volume.shape[2] == 20
    assert [context.figures[f"origin_{a}_angstrom"] for a in "xyz"] == [40.0, -24.0, 16.0]
    old = np.asarray(tomogram.volume)
    for index in ((0, 0, 0), (5, 7, 11), (11, 3, 19)):
        value = after.volume[index]
        was = np.argwhere(old == value)[0]
        assert after.even[index] == value * 2
        assert after.odd[index] == value * 3
        for tilt, before in zip(after.series.tilts, tomogram.series.tilts, strict=True):
            np.testing.assert_allclose(
                seen(tilt.pose, index, after.volume.shape), seen(before.pose, was, shape), atol=1e-9
            )


def test_the_whole_stays_the_whole(rng, context):
    tomogram = make_tomogram(rng, (21, 31, 41), np.float16)
    after = trim_tomogram(tomogram, TrimTomogramParams(), context)
    np.testing.assert_array_equal(after.volume, tomogram.volume)
    assert context.dtypes["tomogram"] == "float16"
    assert after.series == tomogram.series
    assert context.figures["kept_percent"] == 100.0


def test_defocus_follows_the_origin(rng, context):
    after = trim_tomogram(make_tomogram(rng), TrimTomogramParams(middle_xyz_angstrom=(0, 0, 40.0)), context)
    expected = 3e4 - 40.0 * np.cos(np.deg2rad(0.5))
    assert after.series.tilts[1].ctf.defocus_u_angstrom == pytest.approx(expected)


def test_more_than_there_is_is_refused(rng, context):
    tomogram = make_tomogram(rng)
    with pytest.raises(UserInputError, match="at most 160 A"):
        trim_tomogram(tomogram, TrimTomogramParams(thickness_angstrom=400), context)
    with pytest.raises(UserInputError, match="at most 0 A"):
        trim_tomogram(tomogram, TrimTomogramParams(middle_xyz_angstrom=(0, 0, 4000.0)), context)
