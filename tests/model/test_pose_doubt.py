"""A missing resolution: reasons of several sets, each once, and what the user can do."""

from __future__ import annotations

from cryoloom.model import ArrayTable, Particles, doubt_of, doubts_of, no_resolution


def a_set(name: str, **doubts: str) -> Particles:
    return Particles(name, ArrayTable({"particle": [1]}), (), **doubts)


def test_a_doubt_is_that_of_any_set():
    sets = [a_set("a"), a_set("b", pose_doubt="x"), a_set("c", pose_doubt="x"), a_set("d", pose_doubt="y")]
    assert doubt_of(sets[:1]) == doubt_of([]) == ""
    assert doubt_of(sets) == "x; y"


def test_halves_aligned_to_one_map_are_a_doubt():
    picked = a_set("a", common_reference="the template")
    assert doubt_of([picked]) == "both halves were aligned to the template"
    assert doubt_of([picked, a_set("b", pose_doubt="x")]) == "x; both halves were aligned to the template"


def test_one_set_of_several_has_all_their_doubts():
    sets = [a_set("a", pose_doubt="x"), a_set("b", pose_doubt="x", common_reference="the template")]
    assert doubts_of(sets) == ("x", "the template")
    joined = a_set("all", pose_doubt="x", common_reference="the template")
    assert doubt_of([joined]) == doubt_of(sets)


def test_the_sentence_names_the_reason_and_what_to_do():
    assert "gives no resolution: x. Run refine with these particles:" in no_resolution("x")
