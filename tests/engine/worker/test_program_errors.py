"""The first error line of a program's output, and what the machine lacks in a sentence of its own."""

from __future__ import annotations

import numpy as np
import pytest

from cryoloom.engine.worker.program_errors import first_error, known_failure


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("error mean 0.3 px\nall well", ""),
        ("Traceback (most recent call last):\n  File x\nValueError: bad box", "ValueError: bad box"),
        ("reading\nCannot open file a.mrc\nERROR: later", "Cannot open file a.mrc"),
        ("in: /a.cpp, line 5\nERROR:\nno input\n", "ERROR: no input"),
    ],
)
def test_lines_that_are_errors(text, found):
    assert first_error(text) == found


def test_usual_output_is_no_failure_of_the_machine(rng):
    text = "\n".join(f"license: GPL-3; residual error {value:.3f}" for value in np.abs(rng.normal(size=5)))
    assert known_failure("Weaver", text) is None
    assert known_failure("cryoCARE", "WARNING: No GPUs found by tensorflow\n") is None
