"""Memory and disk of steps whose input is not made yet are those of the input once it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryoloom.contract import all_steps
from cryoloom.engine.coordinator.foreseen import foreseen_bytes, foreseen_series
from cryoloom.model import Microscope, Movie, Pose, Sourced, Stack, Tilt, TiltSeries

ANGLES = np.arange(-42.0, 43.0, 6.0)


@pytest.fixture
def imported():
    tilts = tuple(
        Tilt(i, float(a), 3.0 * i, 3.0 * i + 3.0, movie=Movie(Path(f"{i}.tif"), 4, (256, 320)))
        for i, a in enumerate(ANGLES)
    )
    return TiltSeries("TS_01", Microscope(), 8.0, tilts, tilt_axis_deg=Sourced.from_told(85.0, "mdoc"))


@pytest.fixture
def aligned(imported):
    """The same after motion correction and alignment."""
    stack = Stack(np.zeros((len(ANGLES), 256, 320), np.float32), 8.0)
    changes = {
        t.acquisition_index: {"section": i, "pose": Pose(85.0, t.nominal_tilt_deg)}
        for i, t in enumerate(imported.tilts)
    }
    return replace(imported, stack=stack).with_tilts(changes)


@pytest.mark.parametrize(
    "name", ["align_frames", "select_tilts", "estimate_ctf", "align_series", "reconstruct"]
)
def test_estimates_are_those_of_the_later_series(imported, aligned, name):
    step = all_steps()[name]
    params = step.params()
    before = foreseen_bytes(step.bytes_needed, [foreseen_series(imported)], params)
    assert before == [step.bytes_needed(aligned, params)]
    if step.bytes_stored is not None:
        stored = foreseen_bytes(step.bytes_stored, [foreseen_series(imported)], params)
        assert stored == [step.bytes_stored(aligned, params)]


def test_what_an_earlier_step_must_find_is_left_open(imported):
    series = foreseen_series(imported)
    assert foreseen_bytes(None, [series], all_steps()["reconstruct"].params()) == []
    assert foreseen_bytes(lambda one, params: one.stack.images[0].nbytes, [series], None) == []


def test_what_is_there_stays(aligned):
    assert foreseen_series(aligned) == aligned
