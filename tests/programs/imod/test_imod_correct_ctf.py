"""ctfphaseflip on aligned images, with the defoci at the origin of the poses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoloom.errors import DataUnfitError
from cryoloom.model import Pose, Sourced, Stack
from cryoloom.programs.imod.imod_correct_ctf import ImodCorrectCtfParams, imod_correct_ctf
from makers.imod_stand_ins import CTFPHASEFLIP
from makers.made_series import aligned, make_series


@pytest.fixture
def series(rng, stand_in):
    stand_in("ctfphaseflip", CTFPHASEFLIP)
    made = aligned(make_series(n_tilts=3, shape_yx=(12, 16), rng=rng))
    changes = {t.acquisition_index: {"pose": Pose(0.0, t.nominal_tilt_deg)} for t in made.tilts}
    images = made.stack.images
    return replace(
        made.with_tilts(changes),
        stack=Stack(images, 2.0, images + 1, images + 2),
        handedness=Sourced.from_told(-1.0, "user"),
    )


def test_images_and_halves_are_corrected(series, context):
    found = imod_correct_ctf(series, ImodCorrectCtfParams(interpolation_px=9), context)
    assert found.corrected.ctf_correction == "phase_flip"
    assert np.array_equal(found.corrected.odd[2], series.stack.odd[2])
    assert found.stack is series.stack
    words = (context.scratch() / "flip.txt").read_text()
    assert "-InvertTiltAngles" in words
    assert "-InterpolationWidth 9" in words
    assert "-PixelSize 0.2 " in words
    assert context.figures["n_corrected"] == 3


def test_what_cannot_be_corrected(series, context):
    turned = series.with_tilts({0: {"pose": Pose(85.0, 0.0)}})
    with pytest.raises(DataUnfitError, match="run apply_alignment before this step"):
        imod_correct_ctf(turned, ImodCorrectCtfParams(), context)
    blind = series.with_tilts({1: {"ctf": None}})
    with pytest.raises(DataUnfitError, match=r"tilts \[1\] of TS_01 have no CTF to correct"):
        imod_correct_ctf(blind, ImodCorrectCtfParams(), context)


def test_an_unknown_handedness_is_said(series, context):
    imod_correct_ctf(replace(series, handedness=Sourced()), ImodCorrectCtfParams(), context)
    assert "handedness of TS_01 is not known" in context.warnings[0]
