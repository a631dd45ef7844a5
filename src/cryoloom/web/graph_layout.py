"""Positions of the cards of a run graph: layers by longest path, order within a layer by barycentre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["CARD_HEIGHT_PX", "CARD_WIDTH_PX", "Placed", "laid_out"]

CARD_WIDTH_PX, CARD_HEIGHT_PX = 162, 92
_GAP_X_PX, _GAP_Y_PX = 28, 20
_N_SWEEPS = 6
"""Chosen for viewing: sizes of a card, gaps between cards, and sweeps that order the cards of a layer."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Upper left corner of a card, in pixels."""

    x: int
    y: int


def laid_out(inputs: Mapping[int, Sequence[int]]) -> dict[int, Placed]:
    """Position of each node. inputs : for every node its input nodes; nodes that are not keys are ignored.

    Sugiyama, Tagawa & Toda, IEEE Trans. SMC 11 (1981): layers from left to right, then sweeps that order each
    layer by the mean place of its neighbours.
    """
    feeds = {node: [other for other in others if other in inputs] for node, others in inputs.items()}
    layer: dict[int, int] = {}
    for node in sorted(feeds):  # a run's number is higher than those of its inputs
        layer[node] = 1 + max((layer.get(other, -1) for other in feeds[node]), default=-1)
    followers: dict[int, list[int]] = {node: [] for node in feeds}
    for node, others in feeds.items():
        for other in others:
            followers[other].append(node)
    rows: dict[int, list[int]] = {}
    for node in sorted(feeds):
        rows.setdefault(layer[node], []).append(node)
    place = {node: float(i) for row in rows.values() for i, node in enumerate(row)}
    for sweep in range(_N_SWEEPS):
        backwards = sweep % 2 == 1
        for depth in sorted(rows, reverse=backwards):
            rows[depth] = _ordered(rows[depth], followers if backwards else feeds, place)
    # A graph without branches starts at the top.
    lowest = min(place.values(), default=0.0)
    return {
        node: Placed(
            layer[node] * (CARD_WIDTH_PX + _GAP_X_PX),
            int(place[node] - lowest) * (CARD_HEIGHT_PX + _GAP_Y_PX),
        )
        for node in feeds
    }


def _ordered(row: list[int], neighbours: Mapping[int, Sequence[int]], place: dict[int, float]) -> list[int]:
    """A layer in the order of its neighbours' mean positions; sets positions at least a row apart."""
    wanted = {
        node: sum(place[other] for other in neighbours[node]) / len(neighbours[node])
        if neighbours[node]
        else place[node]
        for node in row
    }
    ordered = sorted(row, key=lambda node: (wanted[node], node))
    taken = -1.0
    for node in ordered:
        place[node] = max(taken + 1.0, float(round(wanted[node])))
        taken = place[node]
    return ordered
