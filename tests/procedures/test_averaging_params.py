"""The particle's diameter and symmetry are the user's, else as it was picked, else asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cryoloom.errors import UserInputError
from cryoloom.procedures.averaging_params import particle_diameter_angstrom, particle_symmetry


def test_the_user_comes_before_the_picks():
    items = [SimpleNamespace(diameter_angstrom=None), SimpleNamespace(diameter_angstrom=250.0)]
    assert particle_diameter_angstrom(items, None, "refine") == 250.0
    assert particle_diameter_angstrom(items, 300.0, "refine") == 300.0


def test_an_unknown_diameter_is_asked_for_by_the_step():
    items = [SimpleNamespace(diameter_angstrom=None)]
    with pytest.raises(UserInputError, match="set diameter_angstrom of refine"):
        particle_diameter_angstrom(items, None, "refine")


def test_an_unset_symmetry_is_that_of_the_particles():
    items = [SimpleNamespace(symmetry="O", n_particles=3), SimpleNamespace(symmetry="C1", n_particles=0)]
    assert particle_symmetry(items, None, "refine") == "O"
    assert particle_symmetry(items, "C1", "refine") == "C1"
    with pytest.raises(UserInputError, match="unknown point group"):
        particle_symmetry(items, "Q3", "refine")


def test_tomograms_of_two_symmetries_need_a_word():
    items = [SimpleNamespace(symmetry="O", n_particles=3), SimpleNamespace(symmetry="C1", n_particles=2)]
    with pytest.raises(
        UserInputError, match="different symmetries: C1, O; set the parameter symmetry of refine"
    ):
        particle_symmetry(items, None, "refine")
