"""Filaments of ridge points: what continues what, across gaps too, and a smooth curve through each.

Points are linked where they continue each other: near, parallel, and one before the other rather than beside
it, so that filaments that cross stay apart. The cheapest way through linked points, between their ends, is a
centre-line. A filament casts weaker ridges beside it (fringes of its CTF): of parallel ridges beside each
other only the strongest stays, within a diameter always, farther off where the other is much weaker. Ends
that point at each other across a gap are joined, the shortest gaps first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from cryoloom.algorithms.picking.filaments import Filament, fit_filament
from cryoloom.algorithms.picking.ridges import RidgePoints

__all__ = ["TracedFilament", "centre_line", "link_rods", "strongest_beside", "trace_rods"]

Array = NDArray[np.float64]

_STEP_VOXELS, _STEP_BESIDE = 3.0, 1.3  # chosen: between linked points, along their axis and beside it
_OWN_DIAMETERS, _FRINGE_DIAMETERS, _FRINGE_SCORE = 0.8, 2.0, 0.7
"""Chosen: own way, its fringes, and the part of a stronger score that a fringe may have."""
_BEFORE_VOXELS = 1.6  # chosen: along the axis, in which a point is beside another one and not before it
_ALONG_BEAM = 0.5
"""Chosen: lengths along the beam count half: the missing wedge blurs rods there, and their direction."""
_PARALLEL_COSINE = np.cos(np.deg2rad(30.0))
_GAP_COSINE = np.cos(np.deg2rad(25.0))
"""Chosen: angles between neighbours of one filament, and between its end and a gap's direction. Wider angles
join filaments that cross."""
_LEAST_POINTS, _LEAST_STRONGEST = 4, 0.25
"""Chosen: of a filament, and the part of them that no parallel rod beside beats."""
_NO_PAIRS = np.zeros((0, 2), np.int64)
"""Pairs of a tomogram without points."""
_DEVIATION_VOXELS, _SMOOTH_VOXELS = 0.4, 3.0
"""Chosen: of points from the curve, and along which they are averaged."""
_END_POINTS = 8  # chosen: points that determine the direction of an end


@dataclass(frozen=True, slots=True)
class TracedFilament:
    """A curve, and the points it was traced through."""

    curve: Filament
    median_score: float
    n_points: int

    @property
    def bend_radius_angstrom(self) -> float:
        """Radius of the curve's tightest tenth, away from its ends; inf for a straight line."""
        points = self.curve.points_xyz_angstrom[:: max(1, len(self.curve.points_xyz_angstrom) // 50)]
        tangents = np.gradient(points, axis=0)
        step = np.linalg.norm(tangents, axis=1, keepdims=True)
        bend = np.linalg.norm(np.gradient(tangents / step, axis=0), axis=1) / step[:, 0]
        sharp = float(np.percentile(bend[3:-3], 90)) if len(bend) > 8 else 0.0
        return 1.0 / sharp if sharp > 1e-9 else np.inf


def strongest_beside(points: RidgePoints, diameter_voxels: float) -> NDArray[np.bool_]:
    """Whether each point has no stronger parallel rod beside it, ``(n,)``."""
    kept = np.ones(len(points.score), dtype=bool)
    if not len(kept):
        return kept
    reach = max(_FRINGE_DIAMETERS * diameter_voxels, _STEP_VOXELS)
    places, directions = _shortened(points)
    pairs = cKDTree(places).query_pairs(reach, output_type="ndarray")
    first, second = (directions[pairs[:, i]] for i in (0, 1))
    along, beside = _split(places[pairs[:, 1]] - places[pairs[:, 0]], first)
    rival = np.abs(np.einsum("nd,nd->n", first, second)) > _PARALLEL_COSINE
    rival &= (along < _BEFORE_VOXELS) & (beside > 0.5 * along)
    share = np.where(beside < _OWN_DIAMETERS * diameter_voxels, 1.0, _FRINGE_SCORE)
    for weak, strong in ((0, 1), (1, 0)):
        beaten = points.score[pairs[:, weak]] < share * points.score[pairs[:, strong]]
        kept[pairs[rival & beaten, weak]] = False
    return kept


def _shortened(points: RidgePoints) -> tuple[Array, Array]:
    """Places ``(n, 3)`` as x, y, z in voxels and directions, with lengths along the beam halved."""
    scale = np.array([1.0, 1.0, _ALONG_BEAM])
    directions = points.directions * scale
    return points.index_zyx[:, ::-1] * scale, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _split(apart: Array, axis: Array) -> tuple[Array, Array]:
    """Displacements ``(n, 3)`` as lengths along axes, and beside them."""
    along = np.abs(np.einsum("nd,nd->n", apart, axis))
    return along, np.sqrt(np.maximum((apart**2).sum(axis=1) - along**2, 0.0))


def link_rods(points: RidgePoints) -> coo_matrix:
    """Links of points that continue each other, ``(n, n)``: the cost of a step is its length over its score.

    Costs fall with the square of the response, so that the cheapest way through a rod stays on its crest.
    """
    n = len(points.score)
    places, directions = _shortened(points)
    pairs = cKDTree(places).query_pairs(_STEP_VOXELS, output_type="ndarray") if n else _NO_PAIRS
    apart = places[pairs[:, 1]] - places[pairs[:, 0]]
    first, second = (directions[pairs[:, i]] for i in (0, 1))
    agree = np.abs(np.einsum("nd,nd->n", first, second)) > _PARALLEL_COSINE
    for axis in (first, second):
        agree &= _split(apart, axis)[1] < _STEP_BESIDE
    a, b = pairs[agree].T
    strength = 0.5 * (points.score[a] + points.score[b])
    cost = np.linalg.norm(apart[agree], axis=1) / np.maximum(strength, 1e-6) ** 2
    return coo_matrix((cost, (a, b)), shape=(n, n))


def centre_line(links: coo_matrix, own: NDArray[np.int64], places: Array) -> NDArray[np.int64]:
    """The cheapest way through linked points ``own`` between the two that are farthest apart, in order.

    places : of all points, ``(n, 3)``.
    """
    inside = links.tocsr()[own][:, own]
    lengths = inside.tocoo()
    steps = np.linalg.norm(places[own[lengths.row]] - places[own[lengths.col]], axis=1)
    metric = coo_matrix((np.maximum(steps, 1e-6), (lengths.row, lengths.col)), shape=inside.shape).tocsr()
    one = int(np.argmax(_finite(dijkstra(metric, directed=False, indices=0))))
    other = int(np.argmax(_finite(dijkstra(metric, directed=False, indices=one))))
    _, before = dijkstra(inside, directed=False, indices=one, return_predecessors=True)
    way = [other]
    while way[-1] != one:
        way.append(int(before[way[-1]]))
    return own[np.array(way)]


def _connected(links: coo_matrix, own: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Parts of some points that are linked, with enough points each."""
    if len(own) < _LEAST_POINTS:
        return []
    labels = connected_components(links.tocsr()[own][:, own], directed=False)[1]
    sizes = np.bincount(labels)
    return [own[labels == label] for label in np.flatnonzero(sizes >= _LEAST_POINTS)]


def _trimmed(way: NDArray[np.int64], score: Array) -> NDArray[np.int64]:
    """A way without its weak ends: where a rod ends its response has fallen to half."""
    strong = np.flatnonzero(score[way] > 0.5 * np.median(score[way]))
    return way[strong[0] : strong[-1] + 1]


def _smoothed(places: Array, score: Array, sd_angstrom: float) -> Array:
    """Points of a chain ``(n, 3)`` averaged along it with a Gaussian, the strong ones counting more."""
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    near = np.exp(-0.5 * ((along[:, None] - along) / sd_angstrom) ** 2) * score
    return np.asarray(near @ places / near.sum(axis=1, keepdims=True))


def _finite(lengths: Array) -> Array:
    return np.where(np.isfinite(lengths), lengths, -1.0)


def trace_rods(
    points: RidgePoints,
    positions_xyz_angstrom: Array,
    voxel_angstrom: float,
    *,
    diameter_angstrom: float,
    sure_score: float,
    least_length_angstrom: float,
    largest_gap_angstrom: float,
) -> list[TracedFilament]:
    """Filaments, the longest first.

    positions_xyz_angstrom : of the points, ``(n, 3)``. sure_score : score that at least one point of
    each filament reaches.
    """
    links = link_rods(points)
    strongest = strongest_beside(points, diameter_angstrom / voxel_angstrom)
    pieces = []
    waiting = _connected(links, np.arange(len(points.score)))
    while waiting:
        own = waiting.pop()
        way = centre_line(links, own, positions_xyz_angstrom)
        # Points beside the path belong to it; the rest may be another filament, joined by a fringe.
        away = cKDTree(positions_xyz_angstrom[way]).query(positions_xyz_angstrom[own])[0]
        waiting += _connected(links, own[away > _OWN_DIAMETERS * diameter_angstrom])
        way = _trimmed(way, points.score)
        # A fringe is beaten along its whole way; a filament, where it crosses another.
        if len(way) >= _LEAST_POINTS and strongest[way].mean() > _LEAST_STRONGEST:
            pieces.append(way)
    chains = _joined(pieces, positions_xyz_angstrom, largest_gap_angstrom)
    found = []
    for own in chains:
        if points.score[own].max() < sure_score:
            continue
        curve = fit_filament(
            _smoothed(positions_xyz_angstrom[own], points.score[own], _SMOOTH_VOXELS * voxel_angstrom),
            _DEVIATION_VOXELS * voxel_angstrom,
        )
        if curve.length_angstrom >= least_length_angstrom:
            found.append(TracedFilament(curve, float(np.median(points.score[own])), len(own)))
    return sorted(found, key=lambda one: -one.curve.length_angstrom)


def _joined(
    pieces: list[NDArray[np.int64]], positions: Array, largest_gap_angstrom: float
) -> list[NDArray[np.int64]]:
    """Pieces whose ends point at each other as one; every end continues in one other at most."""
    ends = [(i, last) for i in range(len(pieces)) for last in (False, True)]
    places, outward = np.zeros((len(ends), 3)), np.zeros((len(ends), 3))
    for k, (i, last) in enumerate(ends):
        own = positions[pieces[i]]
        own = own[::-1][:_END_POINTS] if last else own[:_END_POINTS]
        places[k] = own[0]
        away = own[0] - own[-1]
        outward[k] = away / max(float(np.linalg.norm(away)), 1e-9)
    gaps = []
    for a, b in cKDTree(places).query_pairs(largest_gap_angstrom) if len(ends) else ():
        across = places[b] - places[a]
        length = float(np.linalg.norm(across))
        if ends[a][0] == ends[b][0]:
            continue
        toward = across / max(length, 1e-9)
        if outward[a] @ toward > _GAP_COSINE and -(outward[b] @ toward) > _GAP_COSINE:
            gaps.append((length, a, b))
    group = np.arange(len(pieces))
    free = np.ones(len(ends), bool)
    for _, a, b in sorted(gaps):
        one, other = group[ends[a][0]], group[ends[b][0]]
        if free[a] and free[b] and one != other:
            free[a] = free[b] = False
            group[group == other] = one
    return [
        np.concatenate([pieces[i] for i in np.flatnonzero(group == number)]) for number in np.unique(group)
    ]
