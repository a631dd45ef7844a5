"""An average: what it holds goes through the checks, decisions on tilts do not change it."""

from __future__ import annotations

import numpy as np

from cryoloom.model import Average, TiltOverride
from cryoloom.model.tilt import DecidedBy

CUBE = np.zeros((4, 4, 4), np.float32)


def test_only_the_volumes_it_has_are_checked():
    average = Average("ribosome", CUBE, 4.0, half1=CUBE, half2=CUBE)
    (checked,) = average.pixel_sets()
    assert list(checked.pixels) == ["map", "half1", "half2"]
    assert (checked.pixel_size_angstrom, checked.n_sections) == (4.0, 0)


def test_a_local_resolution_is_checked_too():
    (checked,) = Average("ribosome", CUBE, 4.0, mask=CUBE, local_resolution=CUBE).pixel_sets()
    assert set(checked.pixels) == {"map", "mask", "local_resolution"}


def test_decisions_on_tilts_leave_it_as_it_is():
    average = Average("ribosome", CUBE, 4.0)
    override = TiltOverride(3, False, "ice", DecidedBy("user", "ada"))
    assert average.with_decisions({"TS_01": [override]}) is average
