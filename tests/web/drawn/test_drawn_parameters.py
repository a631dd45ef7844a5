"""What was drawn reaches the steps as parameters of single series, and only where it differs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cryoloom.steps.estimate_ctf import EstimateCtfParams
from cryoloom.steps.estimate_slab import EstimateSlabParams
from cryoloom.steps.pick_by_hand import PickByHandParams
from cryoloom.steps.pick_on_surfaces import PickOnSurfacesParams
from cryoloom.store.current_nodes import CurrentNode
from cryoloom.store.decisions import Change, Decision
from cryoloom.web.drawn.drawn_parameters import (
    changes_for_ctf,
    changes_for_picks,
    changes_for_slabs,
    ctf_choices,
    hand_models,
)

SPHERE = {
    "shape": "sphere",
    "points": [[0.0, 0.0, 100.0], [100.0, 0.0, 0.0], [0.0, 100.0, 0.0], [-100.0, 0.0, 0.0]],
    "spacing_angstrom": 80.0,
    "inwards": True,
}


def events(*decided: tuple[str, str, str, Any]) -> tuple[Decision, ...]:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return tuple(
        Decision(i, i, kind, item, target, value, "anna", "owner", "web", "", now)
        for i, (kind, item, target, value) in enumerate(decided, 1)
    )


def as_events(changes: list[Change]) -> tuple[Decision, ...]:
    return events(*((c.kind, c.item, c.target, c.value) for c in changes))


def picks_of(decisions: tuple[Decision, ...]) -> list[Change]:
    return changes_for_picks("ribo", ["TS_01", "TS_02"], decisions, "pick_by_hand", "pick_on_surfaces")


def test_picks_are_particles_of_their_own_set_and_series() -> None:
    decided = events(
        ("pick", "TS_01", "ribo/1", [1.0, 2.0, 3.0]),
        ("pick", "TS_01", "other/1", [9.0, 9.0, 9.0]),
        ("pick", "TS_01", "ribo/2", [4.0, 5.0, 6.0]),
        ("pick", "TS_01", "ribo/1", None),
    )
    changes = picks_of(decided)
    assert [(c.item, c.target) for c in changes] == [("TS_01", "pick_by_hand.models")]
    (model,) = PickByHandParams(models=changes[0].value).models
    assert (model.tomogram, model.shape, model.points_xyz_angstrom) == ("TS_01", "", ((4.0, 5.0, 6.0),))
    assert picks_of((*decided, *as_events(changes))) == []  # they are in use


def test_a_series_whose_picks_are_gone_gives_them_up() -> None:
    used = as_events(picks_of(events(("pick", "TS_01", "ribo/1", [1.0, 2.0, 3.0]))))
    changes = picks_of((*used, *events(("pick", "TS_02", "ribo/1", [1.0, 2.0, 3.0]))))
    assert {(c.item, len(c.value)) for c in changes} == {("TS_01", 0), ("TS_02", 1)}


def test_surfaces_bring_their_spacing_and_side() -> None:
    membrane = {**SPHERE, "shape": "membrane", "inwards": False, "spacing_angstrom": 60.0}
    decided = events(("model", "TS_01", "ribo/a", SPHERE), ("model", "TS_01", "ribo/b", membrane))
    models, surfaces = hand_models("ribo", "TS_01", decided)
    assert [one.shape for one in PickByHandParams(models=models).models] == ["sphere", "open"]
    assert [one["model"] for one in models] == [1, 2]
    params = PickOnSurfacesParams(**surfaces)
    assert (params.spacing_angstrom, params.inward) == (60.0, False)


def node(name: str, step: str, **parameters: Any) -> CurrentNode:
    return CurrentNode(name, step, {"parameters": parameters}, {}, 1)


def test_a_slab_is_given_to_the_step_that_measures_it_and_its_tomogram_holds_it() -> None:
    slab = {"thickness_angstrom": 1000.0, "z_offset_angstrom": -80.0, "tilt_x_deg": 1.0, "tilt_y_deg": 2.0}
    decided = events(("slab", "TS_02", "", {**slab, "run": 6}))
    nodes = [
        node("slab", "estimate_slab"),
        node("tomo", "reconstruct", position="slab"),
        node("b", "reconstruct"),
    ]
    changes = {c.target: c.value for c in changes_for_slabs(nodes, decided)}
    assert changes == {
        "slab.by_hand": slab,
        "tomo.thickness_angstrom": 1400.0,
        "b.thickness_angstrom": 1560.0,
    }
    given = EstimateSlabParams(by_hand=changes["slab.by_hand"]).by_hand
    assert given is not None
    assert given.slab().plane[0] == -80.0
    used = as_events(changes_for_slabs(nodes, decided))
    assert changes_for_slabs(nodes, (*decided, *used)) == []


def test_a_tilts_ctf_is_rejected_refitted_and_taken_back() -> None:
    decided: tuple[Decision, ...] = ()

    def choose(tilts: list[int], how: Any) -> dict[str, Any]:
        nonlocal decided
        changes = changes_for_ctf("TS_03", tilts, how, "ctf", decided)
        decided = (*decided, *as_events(changes))
        decided = tuple(replace(one, id=i, batch=i) for i, one in enumerate(decided, 1))
        return {change.target: change.value for change in changes}

    assert choose([8], "predict") == {"ctf.predict_tilts": [8]}
    assert choose([4, 8], "near") == {"ctf.refit_tilts": [4, 8], "ctf.predict_tilts": []}
    assert choose([9], "predict") == {"ctf.predict_tilts": [9]}
    assert ctf_choices("TS_03", "ctf", decided) == {4: "near", 8: "near", 9: "predict"}
    assert choose([9], "predict") == {}
    assert choose([4, 8, 9], "own") == {"ctf.refit_tilts": [], "ctf.predict_tilts": []}
    given = EstimateCtfParams(predict_tilts=[8], refit_tilts=[4])
    assert (given.predict_tilts, given.refit_tilts) == ((8,), (4,))
