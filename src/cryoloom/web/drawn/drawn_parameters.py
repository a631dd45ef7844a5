"""Drawings as parameters of steps: a slab for estimate_slab, picks for pick_by_hand.

A drawing is only a decision. Using it sets parameters of single series, so that the next `resume` computes
again what depends on these parameters, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from cryoloom.contract.discovery import steps_taking
from cryoloom.store.current import own_parameters_of
from cryoloom.store.current_nodes import CurrentNode
from cryoloom.store.decisions import Change, Decision, in_force

__all__ = [
    "CtfChoice",
    "changes_for_ctf",
    "changes_for_picks",
    "changes_for_slabs",
    "ctf_choices",
    "hand_models",
]

CtfChoice = Literal["near", "predict", "own"]
"""Fit a tilt near the defocus of its neighbours, use their prediction, or use its own rings only."""
_CTF_PARAMETERS = {"near": "refit_tilts", "predict": "predict_tilts"}
_SHAPES = {"membrane": "open"}  # name in the steps
#: Chosen: height of a tomogram above and below a manual slab; the surfaces of the ice stay visible.
_MARGIN_ANGSTROM = 200.0


def changes_for_slabs(nodes: Sequence[CurrentNode], decisions: Sequence[Decision]) -> list[Change]:
    """Parameters for manual slabs of all series that have one and do not use it yet.

    A step that measures the slab uses the manual one instead; a tomogram becomes thick enough for it.
    """
    wanted: dict[tuple[str, str, str], Any] = {}
    measuring, reconstructing = steps_taking("slab"), steps_taking("thickness")
    lies_flat = any(node.step in measuring for node in nodes)
    for one in in_force(decisions, kind="slab"):
        slab = {key: value for key, value in one.value.items() if key != "run"}
        for node in nodes:
            if node.step in measuring:
                wanted[one.item, node.name, "by_hand"] = slab
            elif node.step in reconstructing:
                is_flat = lies_flat and node.asked.get("parameters", {}).get("position") == "slab"
                off = 0.0 if is_flat else abs(slab["z_offset_angstrom"])
                thick = slab["thickness_angstrom"] + 2 * (off + _MARGIN_ANGSTROM)
                wanted[one.item, node.name, "thickness_angstrom"] = round(thick, 1)
    return _changes(wanted, decisions)


def ctf_choices(series: str, node: str, decisions: Sequence[Decision]) -> dict[int, CtfChoice]:
    """Choices of users for the CTFs of a series, by acquisition index; node : that of estimate_ctf."""
    own = own_parameters_of(in_force(decisions)).get((series, node), {})
    choices: tuple[CtfChoice, ...] = ("near", "predict")
    return {index: how for how in choices for index in own.get(_CTF_PARAMETERS[how], ())}


def changes_for_ctf(
    series: str, tilts: Sequence[int], how: CtfChoice, node: str, decisions: Sequence[Decision]
) -> list[Change]:
    """Parameters of estimate_ctf with this choice for some tilts of a series; others do not change."""
    chosen = {**ctf_choices(series, node, decisions), **dict.fromkeys(tilts, how)}
    wanted = {
        (series, node, parameter): sorted(index for index, one in chosen.items() if one == kind)
        for kind, parameter in _CTF_PARAMETERS.items()
    }
    now = own_parameters_of(in_force(decisions)).get((series, node), {})
    return [one for one in _changes(wanted, decisions) if one.value or one.target.split(".")[1] in now]


def changes_for_picks(
    set_name: str, series: Sequence[str], decisions: Sequence[Decision], node: str, surface_node: str
) -> list[Change]:
    """Parameters of pick_by_hand with the picks of a set, for all series whose picks have changed.

    node, surface_node : names of the nodes of pick_by_hand and pick_on_surfaces.
    """
    wanted: dict[tuple[str, str, str], Any] = {}
    used = own_parameters_of(in_force(decisions))
    for name in series:
        models, surfaces = hand_models(set_name, name, decisions)
        if models or (name, node) in used:
            wanted[name, node, "models"] = models
        for parameter, value in surfaces.items():
            wanted[name, surface_node, parameter] = value
    return _changes(wanted, decisions)


def hand_models(
    set_name: str, series: str, decisions: Sequence[Decision]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Models of `pick_by_hand` for a set of a series, and parameters of `pick_on_surfaces` for its surfaces.

    If a set has surfaces, its single picks are ignored. Spacing and side are those of the last drawn surface.
    """
    models = [one for one in in_force(decisions, kind="model", item=series) if _set_of(one) == set_name]
    points = [one for one in in_force(decisions, kind="pick", item=series) if _set_of(one) == set_name]
    found = [
        {
            "tomogram": series,
            "model": number,
            "shape": _SHAPES.get(one.value["shape"], one.value["shape"]),
            "points_xyz_angstrom": one.value["points"],
        }
        for number, one in enumerate(models, 1)
    ]
    if found:
        last = max(models, key=lambda one: one.id).value
        return found, {"spacing_angstrom": last["spacing_angstrom"], "inward": last["inwards"]}
    if points:
        places = [list(one.value) for one in points]
        found = [{"tomogram": series, "model": 1, "shape": "", "points_xyz_angstrom": places}]
    return found, {}


def _set_of(decision: Decision) -> str:
    return decision.target.partition("/")[0]


def _changes(wanted: Mapping[tuple[str, str, str], Any], decisions: Sequence[Decision]) -> list[Change]:
    """Parameters that differ from the current ones."""
    now = own_parameters_of(in_force(decisions))
    return [
        Change("parameter", series, f"{node}.{parameter}", value)
        for (series, node, parameter), value in wanted.items()
        if now.get((series, node), {}).get(parameter) != value
    ]
