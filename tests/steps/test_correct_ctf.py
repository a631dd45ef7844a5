"""The step: strips undo what a tilted plane of points went through; what is unknown is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cryoloom.algorithms.ctf.transfer import ctf_2d
from cryoloom.errors import DataUnfitError
from cryoloom.geometry.projection import beam_coordinate, project
from cryoloom.model import Ctf, Exclusion, Microscope, Pose, Sourced, Stack, Tilt, TiltSeries
from cryoloom.steps.correct_ctf import CorrectCtfParams, correct_ctf

PIXEL, SHAPE = 2.5, (300, 320)
SCOPE = Microscope()
POSES = (Pose(85.0, 50.0, shift_xy_angstrom=(20.0, -12.5)), Pose(-5.0, -40.0, 3.0), Pose(85.0, 0.0))
CTFS = (Ctf(21000.0, 20500.0, 20.0), Ctf(19000.0, 18000.0, -50.0), Ctf(20000.0, 20000.0, 0.0))
POINTS = np.array([[0.0, 0, 0], [240, 75, 0], [-280, -125, 0], [180, -220, 0], [-215, 230, 0]])


def shot(pose, ctf, handedness):
    """Points of the plane z = 0, each with the transfer of its own depth; and where they are, (y, x)."""
    seen = project(POINTS, pose.matrix[None], np.array([pose.shift_xy_angstrom]))[0] / PIXEL
    heights = beam_coordinate(POINTS, pose.matrix[None])[0]
    frequency_y = torch.fft.fftfreq(SHAPE[0])[:, None]
    frequency_x = torch.fft.rfftfreq(SHAPE[1])[None]
    soft = torch.exp(-((frequency_y**2 + frequency_x**2) / (2 * 0.25**2)))
    spectrum = torch.zeros((SHAPE[0], SHAPE[1] // 2 + 1), dtype=torch.complex64)
    for (x, y), height in zip(seen, heights, strict=True):
        at = frequency_y * (y + SHAPE[0] // 2) + frequency_x * (x + SHAPE[1] // 2)
        transfer = ctf_2d(SHAPE, PIXEL, ctf, SCOPE, height_angstrom=handedness * height)
        spectrum += soft * transfer * torch.exp(-2j * torch.pi * at)
    image = 100 - 1000 * torch.fft.irfft2(spectrum, s=SHAPE)
    return image.numpy(), seen[:, ::-1] + np.array(SHAPE) // 2


def made_series(handedness=-1):
    shots = [shot(pose, ctf, handedness) for pose, ctf in zip(POSES, CTFS, strict=True)]
    stack = np.array([image for image, _ in shots], dtype=np.float32)
    tilts = tuple(
        Tilt(i, pose.tilt_deg, 0, 3, section=i, pose=pose, ctf=ctf)
        for i, (pose, ctf) in enumerate(zip(POSES, CTFS, strict=True))
    )
    series = TiltSeries("TS", SCOPE, PIXEL, tilts, handedness=Sourced.from_told(handedness, "test"))
    return replace(series, stack=Stack(stack, PIXEL, stack + 1, stack - 1)), [at for _, at in shots]


def peaks(image, places):
    """Darkness at the points, relative to the image's mean."""
    return np.array([image.mean() - image[round(y), round(x)] for y, x in places])


@pytest.mark.parametrize("handedness", [1, -1])
def test_every_point_is_sharp_again_at_its_own_defocus(handedness, context):
    series, places = made_series(handedness)
    wrong = replace(series, handedness=Sourced.from_told(-handedness, "test"))
    for method in ("phase_flip", "multiply"):
        params = CorrectCtfParams(method=method)
        right = correct_ctf(series, params, context).corrected
        mirrored = correct_ctf(wrong, params, context).corrected
        assert right.ctf_correction == method
        for i in (0, 1):
            found = peaks(right.images[i], places[i])
            # Points away from the axis are as high as the one on it; with the other handedness they are not.
            # A point between pixels loses up to a third of its height.
            np.testing.assert_allclose(found, found[0], rtol=0.33)
            assert peaks(mirrored.images[i], places[i])[1:].mean() < 0.97 * found[1:].mean()
            assert found.min() > 1.2 * np.abs(peaks(series.stack.images[i], places[i])).max()
        np.testing.assert_allclose(right.images[2].mean(), 100, atol=0.1)
        np.testing.assert_allclose(right.even[0] - right.odd[0], 2, atol=1e-2)
    assert context.figures["narrowest_strip_px"] > 5


def test_excluded_tilts_keep_their_pixels_and_stacks_stay(context):
    series, _ = made_series()
    series = series.with_tilts({1: {"exclusion": Exclusion.by_step("dark", "test"), "ctf": None}})
    found = correct_ctf(series, CorrectCtfParams(), context)
    np.testing.assert_array_equal(found.corrected.images[1], series.stack.images[1])
    assert found.stack is series.stack
    assert found.best_stack is found.corrected
    assert found.uncorrected_stack is series.stack


def test_without_handedness_one_defocus_all_over(context):
    series, places = made_series()
    found = correct_ctf(replace(series, handedness=Sourced()), CorrectCtfParams(), context)
    assert any("handedness is not known" in warning for warning in context.warnings)
    assert context.figures["narrowest_strip_px"] == 0
    known = correct_ctf(series, CorrectCtfParams(), context)
    # On the axis it is the same.
    at = peaks(found.corrected.images[0], places[0][:1])
    np.testing.assert_allclose(at, peaks(known.corrected.images[0], places[0][:1]), rtol=0.1)


def test_refuses_tilts_without_a_ctf(context):
    series, _ = made_series()
    with pytest.raises(DataUnfitError, match="1 of 3 tilts have no CTF; run estimate_ctf"):
        correct_ctf(series.with_tilts({2: {"ctf": None}}), CorrectCtfParams(), context)


def test_refuses_a_resolution_that_pixels_do_not_hold(context):
    series, _ = made_series()
    with pytest.raises(DataUnfitError, match=r"hold nothing finer than .*, but resolution_angstrom is 0\.01"):
        correct_ctf(series, CorrectCtfParams(resolution_angstrom=0.01), context)
