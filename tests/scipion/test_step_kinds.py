"""What steps take and give, and which output another one can use."""

from __future__ import annotations

from cryoloom.scipion.step_kinds import further_roles, needed_kind, output_of


def test_what_a_step_takes_by_its_roles():
    assert needed_kind("import_movies", "input") is None
    assert needed_kind("reconstruct", "input") == "TiltSeries"
    assert needed_kind("assign_ctf", "ctf_from") == "TiltSeries"
    assert needed_kind("map_back", "average_from") == "Average"  # one that all items share
    assert needed_kind("reconstruct", "ctf_from") is None
    assert further_roles("assign_series") == ("series_from",)
    assert further_roles("reconstruct") == ()


def test_the_output_of_the_needed_kind():
    assert output_of("initial_model", "Average") == ""
    assert output_of("initial_model", "Particles") == ".particles"
    assert output_of("initial_model", None) == ""
    assert output_of("reconstruct", "Particles") == ""  # it has none: the main one
