"""Errors keep their facts: in their sentence, and across a process border."""

from __future__ import annotations

import pickle

import pytest

from cryoloom.errors import CryoloomError, DataUnfitError, TransientError, UserInputError


@pytest.mark.parametrize("kind", [DataUnfitError, TransientError, UserInputError])
def test_an_error_crosses_a_process_border_with_its_facts(kind):
    error = kind("too few tilts", n_tilts=4, series="TS_01")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert isinstance(again, CryoloomError)
    assert again.facts == {"n_tilts": 4, "series": "TS_01"}
    assert again.message == "too few tilts"
    assert str(again) == str(error) == "too few tilts (n_tilts=4, series=TS_01)"


def test_a_sentence_without_facts_stays_as_it_is():
    assert str(UserInputError("there is no run 7")) == "there is no run 7"


def test_no_class_is_caught_as_another():
    for kind in (DataUnfitError, TransientError, UserInputError):
        others = {DataUnfitError, TransientError, UserInputError} - {kind}
        assert not issubclass(kind, tuple(others))
