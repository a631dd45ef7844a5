"""Whether tracks hold a series together: in how many of the views that should show them they are seen.

Few long tracks fix all poses against each other. Tracks that end where others begin only fix two parts of a
series each for itself; residuals, halves of the tracks and left-out tracks do not show it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from cryoloom.algorithms.alignment.bundle_adjustment import BundleSolution
from cryoloom.algorithms.alignment.tracks import Tracks

__all__ = ["LEAST_WEIGHT", "followed_part", "least_in_common", "views_placed_by_chance"]

LEAST_WEIGHT = 0.02
"""Robust weight of an observation that counts: as `bead_tracking.LEAST_ROBUST_WEIGHT`."""
LEAST_IN_A_VIEW = 2  # chosen: a single point does not show which others a view contains
SEEN_ON_A_SIDE = 3
"""Views on either side in which a point must be seen to hold both together."""
FEW_IN_A_VIEW = 4
"""So many points or fewer may agree on a place by chance: two maxima are often as far apart as two points."""
SEEN_OF_TYPICAL, LEAST_PROBABILITY = 0.6, 0.05
"""A view may show six tenths of the points that others show, as steep ones do; fewer than so improbable are
chance. Views of two random sessions showed 2 of 35 points (others 35) and 2 of 13 (others 26 of 33), and were
965 and 920 A off."""


def _seen(tracks: Tracks, solution: BundleSolution) -> NDArray[np.bool_]:
    """Whether a point is seen in a view and counts there, ``(n_points, n_views)``."""
    seen = np.zeros((tracks.n_points, tracks.n_views), dtype=bool)
    counts = solution.robust_weight > LEAST_WEIGHT
    seen[tracks.point[counts], tracks.view[counts]] = True
    return seen


def followed_part(
    tracks: Tracks,
    solution: BundleSolution,
    usable: NDArray[np.bool_],
    field_xy_angstrom: tuple[float, float],
) -> float:
    """Part of the views that should show a point in which it is seen, over all points together.

    field_xy_angstrom : extent of the images in which points are looked for.
    """
    found, expected = _found_and_expected(tracks, solution, usable, field_xy_angstrom)
    return float(found.sum() / max(int(expected.sum()), 1))


def views_placed_by_chance(
    tracks: Tracks,
    solution: BundleSolution,
    usable: NDArray[np.bool_],
    field_xy_angstrom: tuple[float, float],
) -> NDArray[np.bool_]:
    """Views ``(n_views,)`` whose few points are far fewer than their pose should show.

    A wrong offset brings two points onto two maxima now and then, and they fit. Under the right one the view
    would show most of the points in its field, as the others do: the number it shows is compared with the
    binomial distribution of six tenths of the typical part.
    """
    found, expected = _found_and_expected(tracks, solution, usable, field_xy_angstrom)
    n_found, n_expected = found.sum(axis=0), expected.sum(axis=0)
    counted = usable & (n_found > FEW_IN_A_VIEW)
    if not counted.any():
        return np.zeros(tracks.n_views, dtype=bool)
    typical = float(np.median(n_found[counted] / n_expected[counted]))
    chance = binom.cdf(n_found, n_expected, SEEN_OF_TYPICAL * typical) < LEAST_PROBABILITY
    return np.asarray(usable & (n_found <= FEW_IN_A_VIEW) & chance)


def _found_and_expected(
    tracks: Tracks,
    solution: BundleSolution,
    usable: NDArray[np.bool_],
    field_xy_angstrom: tuple[float, float],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each point ``(n_points, n_views)`` is seen in a view, and whether it lies in its field."""
    known = np.isfinite(solution.points_xyz_angstrom).all(axis=1)
    places = solution.geometry.project(solution.points_xyz_angstrom[known])
    expected = (np.abs(places) < np.array(field_xy_angstrom) / 2).all(axis=2).T & usable
    return _seen(tracks, solution)[known] & expected, expected


def least_in_common(tracks: Tracks, solution: BundleSolution, usable: NDArray[np.bool_]) -> int:
    """Fewest points that are seen often on both sides of a place in the order of the tilts.

    "Often" means in three views on a side; places with fewer views on a side are not judged. Views with fewer
    than two points, which have no pose of their own, do not count.
    """
    order = np.argsort(solution.geometry.tilt_deg, kind="stable")
    seen = _seen(tracks, solution)[:, order]
    seen = seen[:, usable[order] & (seen.sum(axis=0) >= LEAST_IN_A_VIEW)]
    before: NDArray[np.int64] = np.cumsum(seen, axis=1)
    after: NDArray[np.int64] = before[:, -1:] - before
    both = ((before >= SEEN_ON_A_SIDE) & (after >= SEEN_ON_A_SIDE)).sum(axis=0)
    # A point is hidden in a view now and then: a side has one view more than a point must be seen in.
    inner = both[SEEN_ON_A_SIDE : seen.shape[1] - SEEN_ON_A_SIDE - 1]
    return int(inner.min()) if len(inner) else tracks.n_points
