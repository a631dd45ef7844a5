"""The call of ctfphaseflip: units and the sign of the tilts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cryoloom.model import Sourced
from cryoloom.programs.imod.phase_flip import phase_flip_call
from makers.made_series import aligned, make_series


@pytest.mark.parametrize(("hand", "inverts"), [(1.0, False), (-1.0, True)])
def test_units_and_hand(hand, inverts):
    series = replace(aligned(make_series()), handedness=Sourced.from_told(hand, "user"))
    call = phase_flip_call(
        "odd", "odd_ali.mrc", 13.5, series, ["-UseGPU", "2"], defocus_tolerance_angstrom=1230.0,
        interpolation_px=7,
    )  # fmt: skip
    assert call.words_of("-PixelSize") == ("-PixelSize", "1.35")  # nanometre
    assert call.words_of("-DefocusTol") == ("-DefocusTol", "123")
    assert call.words_of("-InterpolationWidth") == ("-InterpolationWidth", "7")
    assert call.words_of("-UseGPU") == ("-UseGPU", "2")
    assert ("-InvertTiltAngles" in call.arguments) is inverts
    assert call.writes == ("odd_flipped.mrc",)
