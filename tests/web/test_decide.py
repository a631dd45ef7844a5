"""Decisions as the browser sends them: each kind has its form, its subject and its sentence."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from cryoloom.errors import UserInputError
from cryoloom.store.decisions import in_force
from cryoloom.web.decide import DecisionRequest, decide, decision_text
from cryoloom.web.site import Site

PLACE = [10.0, -20.0, 30.5]
SPHERE = {"shape": "sphere", "points": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]]}
FORMS = [
    ({"kind": "tilt", "item": "TS_01", "target": 3, "value": {"keep": False}}, "left out tilt 3 of TS_01"),
    ({"kind": "series", "item": "TS_01", "value": {"keep": True}}, "kept TS_01"),
    ({"kind": "comment", "item": "TS_01", "value": "thick <b>"}, "note on TS_01: thick <b>"),
    ({"kind": "comment", "item": "run:1", "value": "second try"}, "note on run:1: second try"),
    ({"kind": "variant", "item": "TS_01", "value": 6}, "variant of TS_01"),
    ({"kind": "pick", "item": "TS_01", "target": "ribosome/a1", "value": PLACE},
     "set pick ribosome/a1 of TS_01"),
    ({"kind": "pick", "item": "TS_01", "target": "ribosome/a1", "value": None},
     "took away pick ribosome/a1 of TS_01"),
    ({"kind": "model", "item": "TS_01", "target": "shell/1", "value": SPHERE}, "set model shell/1 of TS_01"),
    ({"kind": "track", "item": "TS_01", "target": "2/7", "value": {"x_angstrom": None, "y_angstrom": None}},
     "set track 2/7 of TS_01"),
    ({"kind": "slab", "item": "TS_01", "value": {"thickness_angstrom": 1200, "z_offset_angstrom": 5}},
     "slab of TS_01: 120 nm thick"),
]  # fmt: skip
WRONG = [
    {"kind": "pick", "item": "TS_01", "target": "no number", "value": PLACE},
    {"kind": "pick", "item": "TS_01", "target": "set/1", "value": [1e9, 0, 0]},
    {"kind": "pick", "item": "TS_01", "target": "set/1", "value": [float("nan"), 0, 0]},
    {"kind": "track", "item": "TS_01", "target": "../7", "value": None},
    {"kind": "model", "item": "TS_01", "target": "set/1", "value": {"shape": "cube", "points": [PLACE] * 4}},
    {"kind": "comment", "item": "TS_01", "value": "x" * 2001},
    {"kind": "series", "item": "TS_01", "value": {"keep": True, "delete": True}},
]


def asked(*changes: dict[str, Any]) -> DecisionRequest:
    return DecisionRequest.model_validate({"changes": changes, "why": "", "page": "series"})


@pytest.mark.parametrize(("change", "text"), FORMS, ids=[text for _, text in FORMS])
def test_every_kind_is_recorded_and_put_into_words(site: Site, change: dict[str, Any], text: str) -> None:
    (event,) = decide(site.project("HIV-session"), asked(change), "anna", "owner")
    assert decision_text(event) == text
    assert (event.kind, event.who, event.page) == (change["kind"], "anna", "web: series")


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_what_has_not_the_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        asked(change)


def test_several_changes_are_one_decision_and_are_undone_at_once(site: Site) -> None:
    project = site.project("HIV-session")
    made = decide(
        project,
        asked(*({"kind": "tilt", "item": "TS_04", "target": i, "value": {"keep": False}} for i in (1, 2))),
        "berta",
        "owner",
    )
    assert len({event.batch for event in made}) == 1
    assert len(in_force(project.decisions(), kind="tilt", item="TS_04")) == 2


def test_nothing_is_recorded_where_one_of_them_is_wrong(site: Site) -> None:
    project = site.project("HIV-session")
    before = project.decisions()
    right = {"kind": "tilt", "item": "TS_03", "target": 1, "value": {"keep": False}}
    with pytest.raises(
        UserInputError, match="TS_03 has no tilt of acquisition index 77; expected one of 0, 1"
    ):
        decide(project, asked(right, {**right, "target": 77}), "anna", "owner")
    slab = {"thickness_angstrom": 900, "z_offset_angstrom": 0, "run": 99}
    with pytest.raises(UserInputError, match="run 99 has no tomogram of TS_03; load the page again"):
        decide(project, asked({"kind": "slab", "item": "TS_03", "value": slab}), "anna", "owner")
    assert project.decisions() == before
