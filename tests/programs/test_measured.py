"""Figures of real runs are given for steps that exist."""

from __future__ import annotations

from cryoloom.contract import find_step
from cryoloom.programs.measured import MEASURED


def test_every_measurement_is_of_a_program_step():
    for name, measured in MEASURED.items():
        assert find_step(name).programs
        assert measured.versions
        assert measured.difference
