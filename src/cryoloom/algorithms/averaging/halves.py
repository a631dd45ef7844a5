"""Two independent halves of a particle set, without duplicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from cryoloom.model import ParticleRows

__all__ = ["assign_halves", "duplicates"]


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


def assign_halves(
    rows: ParticleRows, touching_angstrom: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Half 1 or 2 of every particle, ``(n,)``, as equal in size as possible.

    Particles that touch contain parts of each other in their boxes: they are put into one half, unless a
    connected group has more than a tenth of the tomogram's particles.
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
        if sizes.max() > max(2, len(mine) // 10):
            group, n_groups = np.arange(len(mine)), len(mine)
        members = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
        for which in rng.permutation(n_groups):
            smaller = int(counts[1] < counts[0])
            half[mine[members[which]]] = smaller + 1
            counts[smaller] += len(members[which])
    return half
