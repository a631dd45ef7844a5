"""Parameters of a simulated session: bounds, words that are refused, and where an atomic model is."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cryoloom.simulate.parameters import SimulationParams


def test_a_word_that_is_no_parameter_is_refused():
    with pytest.raises(ValidationError, match="n_bead\n"):
        SimulationParams(n_bead=3)
    with pytest.raises(ValidationError, match="frozen"):
        SimulationParams().seed = 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tilt_step_deg", 0.0),
        ("tilt_min_deg", 5.0),
        ("coincidence_loss", 0.3),
        ("mtf_at_nyquist", 1.01),
        ("handedness", 0),
        ("camera", "k2"),
        ("phase_shift_deg", 180.0),
    ],
)
def test_impossible_values_are_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=name):
        SimulationParams(**{name: value})


def test_every_parameter_says_what_it_is():
    assert all(field.description for field in SimulationParams.model_fields.values())


def test_the_specimen_is_built_in_or_a_file():
    assert SimulationParams().specimen_path is None
    assert SimulationParams(specimen="/a/4v5d.cif.gz").specimen_path == Path("/a/4v5d.cif.gz")


def test_it_comes_back_from_its_own_text():
    params = SimulationParams(seed=7, dark_tilts=(3, 4), image_shape_yx=(96, 128))
    assert SimulationParams.model_validate_json(params.model_dump_json()) == params
