"""NovaCTF, where it is installed: a point lies where the poses kept with the tomogram say."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from cryoloom.contract.program import Workplace
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.frames import position_from_index
from cryoloom.model import Ctf, Pose, Sourced, Stack
from cryoloom.programs.reconstruction.novactf_reconstruct import (
    NovactfReconstructParams,
    calls,
    novactf_reconstruct,
)
from makers.made_series import aligned, make_series

POINTS = np.array([[180.0, 70.0, 90.0], [-120.0, -90.0, -60.0]])


@pytest.fixture
def series(rng):
    """Dark points whose places are known in images of 10 A, upright, and one excluded tilt."""
    made = aligned(make_series(n_tilts=31, shape_yx=(40, 64), pixel_size_angstrom=10.0), leave_out=(5,))
    y, x = np.mgrid[:40, :64]
    images = np.full((31, 40, 64), 100.0, np.float32)
    changes = {}
    for tilt in made.tilts:
        pose = Pose(0.0, tilt.nominal_tilt_deg)
        if not tilt.is_excluded:
            changes[tilt.acquisition_index] = {"pose": pose}
        for point in POINTS:
            px, py = (pose.matrix @ point)[:2] / 10
            images[tilt.section] -= 30 * np.exp(-((x - 32 - px) ** 2 + (y - 20 - py) ** 2) / 3)
    images += rng.normal(0, 0.1, images.shape).astype(np.float32)
    return replace(
        made.with_tilts(changes), stack=Stack(images, 10.0), handedness=Sourced.from_told(1.0, "x")
    )


needs_novactf = pytest.mark.skipif(shutil.which("novaCTF") is None, reason="novaCTF is not installed")


@needs_novactf
def test_points_lie_where_the_poses_say(series, context):
    # A defocus at which the transfer function is positive up to this pixel size leaves points as they are.
    flat = {t.acquisition_index: {"ctf": replace(t.ctf, defocus_u_angstrom=500.0, defocus_v_angstrom=500.0)}
            for t in series.included}  # fmt: skip
    params = NovactfReconstructParams(thickness_angstrom=400.0)
    found = novactf_reconstruct(series.with_tilts(flat), params, context)
    assert found.volume.shape == (40, 40, 64)
    volume = np.asarray(found.volume)
    contrast = volume - np.median(volume)
    offset = np.array([5.0, 5.0, 5.0])  # of the new origin, index n // 2, in the frame of the points
    for point in POINTS:
        k, j, i = np.round((point - offset)[::-1] / 10 + np.array(volume.shape) // 2).astype(int)
        box = np.abs(contrast[k - 3 : k + 4, j - 3 : j + 4, i - 3 : i + 4])
        weights = np.clip(box - 0.3 * box.max(), 0, None)
        inside = np.stack(np.mgrid[-3:4, -3:4, -3:4], axis=-1).reshape(-1, 3)
        index = np.average(inside, axis=0, weights=weights.ravel()) + np.array((k, j, i))
        place = position_from_index(index, volume.shape, 10.0)
        np.testing.assert_allclose(place + offset, point, atol=2.5)


def points_of_handedness(hand, tilts, shape_yx, pixel_angstrom, points, rng):
    """Images of dark points, each with the transfer function at the defocus of its own height."""
    n_y, n_x = shape_yx
    ky, kx = np.fft.fftfreq(n_y, pixel_angstrom)[:, None], np.fft.rfftfreq(n_x, pixel_angstrom)[None]
    k2, wavelength, cs = ky**2 + kx**2, 0.0196875, 2.7e7
    made = {}
    for tilt in tilts:
        pose, total = Pose(0.0, tilt.nominal_tilt_deg), np.zeros((n_y, n_x // 2 + 1), complex)
        for point in points:
            x, y, height = pose.matrix @ point
            defocus = 30000.0 - hand * height
            chi = np.pi * wavelength * defocus * k2 - 0.5 * np.pi * cs * wavelength**3 * k2**2
            transfer = np.sin(chi + np.arcsin(0.1))
            ramp = np.exp(
                -2j * np.pi * (kx * (x + n_x // 2 * pixel_angstrom) + ky * (y + n_y // 2 * pixel_angstrom))
            )
            total -= transfer * ramp * np.exp(-20 * k2)
        image = 100 + 300 * np.fft.irfft2(total, s=shape_yx)
        made[tilt.section] = image + rng.normal(0, 0.05, shape_yx)
    return np.array([made[i] for i in range(len(made))], np.float32)


@needs_novactf
@pytest.mark.parametrize("hand", [1.0, -1.0])
def test_the_true_handedness_gives_the_darker_points(rng, context, hand):
    made = aligned(make_series(n_tilts=31, shape_yx=(32, 64), pixel_size_angstrom=4.0))
    points = np.array([[0.0, 8.0, 1300.0], [0.0, -8.0, -1300.0]])
    images = points_of_handedness(hand, made.tilts, (32, 64), 4.0, points, rng)
    known = {t.acquisition_index: {"pose": Pose(0.0, t.nominal_tilt_deg), "ctf": Ctf(30000.0, 30000.0, 0.0)}
             for t in made.tilts}  # fmt: skip
    series = replace(made.with_tilts(known), stack=Stack(images, 4.0))
    depths = {}
    for assumed in (1.0, -1.0):
        given = replace(series, handedness=Sourced.from_told(assumed, "user"))
        params = NovactfReconstructParams(thickness_angstrom=3000.0)
        volume = np.asarray(novactf_reconstruct(given, params, context).volume)
        assert context.figures["n_planes"] == 19
        # Indices of the points: the new origin is half a voxel of 4 A from the old.
        places = np.round((points - 2.0)[:, ::-1] / 4 + np.array(volume.shape) // 2).astype(int)
        boxes = [volume[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3] for k, j, i in places]
        depths[assumed] = np.mean([np.median(volume) - box.min() for box in boxes])
    # Measured: 1.7 to 1.8.
    assert depths[hand] > 1.4 * depths[-hand]


def test_planes_take_each_others_defocus_where_the_handedness_is_minus_one(series):
    params = NovactfReconstructParams(thickness_angstrom=1000.0, defocus_step_nm=15.0)
    made = calls(series, params, Workplace())
    assert len(made) == 1 + 5 + 5 + 1
    files = [call.words_of("-DefocusFile")[1] for call in made[1:6]]
    inverted = calls(replace(series, handedness=Sourced.from_told(-1.0, "x")), params, Workplace())
    assert [call.words_of("-DefocusFile")[1] for call in inverted[1:6]] == files[::-1]
    unknown = calls(replace(series, handedness=Sourced()), params, Workplace())
    assert len(unknown) == 4


def test_images_must_be_aligned_and_have_ctfs(series, context):
    with pytest.raises(DataUnfitError, match="run apply_alignment before"):
        novactf_reconstruct(aligned(series), NovactfReconstructParams(), context)
    blind = series.with_tilts({t.acquisition_index: {"ctf": None} for t in series.tilts})
    with pytest.raises(DataUnfitError, match="has no CTF; estimate"):
        novactf_reconstruct(blind, NovactfReconstructParams(), context)
