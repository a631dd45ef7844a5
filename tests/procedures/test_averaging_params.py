"""The particle's diameter is the user's, else as it was picked, else asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.errors import UserInputError
from cryoloom.procedures.averaging_params import particle_diameter_angstrom


def test_the_user_comes_before_the_picks():
    items = [SimpleNamespace(diameter_angstrom=None), SimpleNamespace(diameter_angstrom=250.0)]
    assert particle_diameter_angstrom(items, None, "refine") == 250.0
    assert particle_diameter_angstrom(items, 300.0, "refine") == 300.0


def test_an_unknown_diameter_is_asked_for_by_the_step():
    items = [SimpleNamespace(diameter_angstrom=None)]
    with pytest.raises(UserInputError, match="set diameter_angstrom of refine"):
        particle_diameter_angstrom(items, None, "refine")
