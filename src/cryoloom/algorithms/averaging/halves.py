"""Two independent halves of a particle set, without duplicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cryoloom.algorithms.averaging.surface_cells import spacing_angstrom
from cryoloom.model import ParticleRows

__all__ = ["assign_halves", "duplicates", "least_distance_angstrom"]

_SAME_DIAMETERS, _TWICE_DIAMETERS = 0.4, 0.05  # chosen: picks of one particle, and picks that are given twice
_SAME_SPACINGS = 0.5  # chosen: of a lattice, whose next particle is a spacing away


def duplicates(rows: ParticleRows, distance_angstrom: float) -> NDArray[np.bool_]:
    """Particles closer than a distance to one with a better score, ``(n,)``.

    Without scores, to an earlier one in the table.
    """
    order = np.arange(rows.n) if rows.score is None else np.argsort(-np.nan_to_num(rows.score), kind="stable")
    dropped = np.zeros(rows.n, bool)
    for name in np.unique(rows.tomogram):
        mine = order[rows.tomogram[order] == name]
        places = rows.positions_xyz_angstrom[mine]
        taken = np.zeros(len(mine), bool)
        for i, near in enumerate(cKDTree(places).query_ball_point(places, distance_angstrom)):
            if not taken[i]:
                later = [j for j in near if j > i]
                taken[later] = True
        dropped[mine] = taken
    return dropped


def least_distance_angstrom(rows: ParticleRows, diameter_angstrom: float) -> float:
    """Distance below which two particles are one: 0.4 of the diameter, or half the spacing on surfaces.

    Picks with a direction were distributed over a surface or along a filament. Their particles stand side by
    side, closer than a diameter that contains their neighbours, and several places may come to one particle.
    """
    apart = _SAME_DIAMETERS * diameter_angstrom
    if rows.prior_directions is None:
        return apart
    known = rows.take(np.flatnonzero(np.isfinite(rows.prior_directions).all(axis=1)))
    known = known.take(np.flatnonzero(~duplicates(known, _TWICE_DIAMETERS * diameter_angstrom)))
    spacing = spacing_angstrom(known)
    return apart if spacing is None else min(apart, _SAME_SPACINGS * spacing)


def assign_halves(
    rows: ParticleRows, touching_angstrom: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Half 1 or 2 of every particle, ``(n,)``, as equal in size as possible.

    Particles that touch contain parts of each other in their boxes: they are put into one half. A connected
    group of more than a tenth of the tomogram's particles, such as a lattice, is cut into compact regions, so
    that few neighbours are in different halves.
    """
    half = np.zeros(rows.n, np.int64)
    counts = [0, 0]
    for name in np.unique(rows.tomogram):
        mine = np.flatnonzero(rows.tomogram == name)
        pairs = cKDTree(rows.positions_xyz_angstrom[mine]).query_pairs(
            touching_angstrom, output_type="ndarray"
        )
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(mine),) * 2)
        n_groups, group = connected_components(graph, directed=False)
        sizes = np.bincount(group, minlength=n_groups)
        places, most = rows.positions_xyz_angstrom[mine], max(2, len(mine) // 10)
        members = [
            region
            for one in np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
            for region in _regions(one, places, most)
        ]
        for which in rng.permutation(len(members)):
            smaller = int(counts[1] < counts[0])
            half[mine[members[which]]] = smaller + 1
            counts[smaller] += len(members[which])
    return half


def _regions(members: NDArray[np.int64], places: NDArray[np.float64], most: int) -> list[NDArray[np.int64]]:
    """Members of a group, halved across its longest extent until no region has more than so many."""
    if len(members) <= most:
        return [members]
    centred = places[members] - places[members].mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    order = members[np.argsort(along, kind="stable")]
    middle = len(order) // 2
    return _regions(order[:middle], places, most) + _regions(order[middle:], places, most)
