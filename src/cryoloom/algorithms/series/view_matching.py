"""Matching of another program's views to tilts: by section, dose and angle, or not at all.

A view is never assigned to a neighbouring tilt. Sections or doses decide if they are known, and the angles
must then agree except for a common offset; if neighbouring assignments fit as well, only one without an
offset is accepted. With angles alone, each must be the nominal angle of one tilt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["ViewEvidence", "match_views"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Refined angles of tiltalign stay within a degree or two of the nominal ones, apart from a common offset.
ANGLE_TOLERANCE_DEG = 3.0
# Lamellae lie at 8 to 12 degrees on the stage.
LARGEST_OFFSET_DEG = 15.0
NEAR = 0.4
"""Chosen: part of the step between neighbours within which an angle or a dose belongs to that tilt only."""
SAME = 0.15
"""The same for the median over all views where angles are the only evidence: nominal angles are exact."""

CLEARLY_BETTER = 0.3
"""Chosen: ratio of scatters that decides between two assignments."""
_SAME_ANGLE = 0.25
"""Chosen: steps below a quarter of the median one are the same angle, refined."""


@dataclass(frozen=True, slots=True)
class ViewEvidence:
    """Known properties of tilts or views, ``(n,)`` each: NaN and -1 if unknown."""

    tilt_deg: Array
    dose_start_per_angstrom2: Array
    section: Indices


def match_views(
    tilts: ViewEvidence,
    views: ViewEvidence,
    n_sections: int,
    *,
    n_program_sections: int | None = None,
    zero_based_too: bool = False,
    left_out: Sequence[tuple[int, tuple[float, ...]]] = (),
) -> Indices:
    """Index of the tilt of each view, ``(n_views,)``; DataUnfitError if that is not certain.

    n_sections : of the series' stack. n_program_sections : as the other program saw it; without, the
    number of views. zero_based_too : the views' sections may be one too low. left_out : section and tilt of
    images without a view; the sections of the views may count the others only.
    """
    n_seen = len(views.section) if n_program_sections is None else n_program_sections
    if (views.section >= 0).all() and n_seen == n_sections:
        bases = (0, 1) if zero_based_too else (0,)
        ways = [_index_of(tilts.section, views.section + base) for base in bases]
        kept = _sections_without(left_out, tilts, n_sections)
        if kept is not None and views.section.max() < len(kept):
            ways.append(_index_of(tilts.section, kept[views.section]))
        return _chosen(ways, tilts, views)
    doses = views.dose_start_per_angstrom2, tilts.dose_start_per_angstrom2
    if all(np.isfinite(dose).all() and len(np.unique(dose)) == len(dose) for dose in doses):
        # Start, middle or end of an exposure: programs differ by up to a step.
        step = _smallest_step(doses[1])
        return _chosen(
            [_nearest(doses[1], doses[0] + k * step, NEAR * step) for k in (0, -1, 1)], tilts, views
        )
    return _by_angle(tilts, views)


def _chosen(candidates: list[Indices | None], tilts: ViewEvidence, views: ViewEvidence) -> Indices:
    """The one candidate whose angles agree with the tilts' except for an offset; refused if not unique."""
    found: list[tuple[Indices, float, float]] = []
    for index in candidates:
        if index is not None and not any(np.array_equal(index, other) for other, _, _ in found):
            difference = views.tilt_deg - tilts.tilt_deg[index]
            offset = float(np.median(difference))
            found.append((index, offset, float(np.abs(difference - offset).max())))
    fit = [one for one in found if one[2] <= ANGLE_TOLERANCE_DEG and abs(one[1]) <= LARGEST_OFFSET_DEG]
    fit.sort(key=lambda one: one[2])
    if len(fit) > 1 and fit[0][2] < min(CLEARLY_BETTER * fit[1][2], NEAR * _smallest_step(tilts.tilt_deg)):
        fit = fit[:1]  # an assignment that is wrong for some views scatters by their steps
    good = [(index, offset) for index, offset, _ in fit]
    if len(good) > 1:
        # Candidates differ by one step of the angle: the one without that offset.
        near = NEAR * _smallest_step(tilts.tilt_deg)
        good = [(index, offset) for index, offset in good if abs(offset) < near]
    if len(good) != 1:
        differences = ", ".join(f"offset {offset:.1f} scatter {scatter:.1f}" for _, offset, scatter in found)
        raise DataUnfitError(
            "the views cannot be assigned to tilts: with the sections or doses in the file, its angles and "
            f"the series' differ by ({differences or 'no tilt has them'}) deg; give the alignment of this "
            "series",
            expected_offset_deg=f"within {LARGEST_OFFSET_DEG:g}",
            expected_scatter_deg=f"within {ANGLE_TOLERANCE_DEG:g}",
        )
    return good[0][0]


def _sections_without(
    left_out: Sequence[tuple[int, tuple[float, ...]]], tilts: ViewEvidence, n_sections: int
) -> Indices | None:
    """Sections of the stack without those of the images left out; None if their tilts do not show it."""
    if not left_out:
        return None
    step, lost = _smallest_step(tilts.tilt_deg), set()
    for section, angles in left_out:
        apart = np.abs(tilts.tilt_deg[:, None] - np.array(angles)).min(axis=1)
        near = np.flatnonzero(apart < NEAR * step)
        if len(near) > 1:  # two images of one tilt: the one of that section, counted from 0 or 1
            near = near[np.isin(tilts.section[near], (section, section - 1))]
        if len(near) != 1 or tilts.section[near[0]] < 0:
            return None
        lost.add(int(tilts.section[near[0]]))
    return np.array([i for i in range(n_sections) if i not in lost], dtype=np.int64)


def _index_of(sections: Indices, wanted: Indices) -> Indices | None:
    """Position of each wanted section; None if one is missing."""
    place = {int(section): i for i, section in enumerate(sections) if section >= 0}
    if any(int(section) not in place for section in wanted):
        return None
    return np.array([place[int(section)] for section in wanted], dtype=np.int64)


def _nearest(values: Array, wanted: Array, tolerance: float) -> Indices | None:
    """Index of the nearest value to each wanted one; None unless all are within reach and different."""
    apart = np.abs(wanted[:, None] - values[None])
    index = np.argmin(apart, axis=1).astype(np.int64)
    if apart.min(axis=1).max() > tolerance or len(np.unique(index)) < len(index):
        return None
    return index


def _by_angle(tilts: ViewEvidence, views: ViewEvidence) -> Indices:
    """The one tilt at each view's angle."""
    step = _smallest_step(tilts.tilt_deg)
    apart = views.tilt_deg[:, None] - tilts.tilt_deg[None]
    near = np.abs(apart) < NEAR * step
    counts = near.sum(axis=1)
    index = np.argmax(near, axis=1).astype(np.int64)
    if (counts == 1).all() and len(np.unique(index)) == len(index):
        if abs(float(np.median(views.tilt_deg - tilts.tilt_deg[index]))) < SAME * step:
            return index
    lost, doubtful = int((counts == 0).sum()), int((counts > 1).sum())
    raise DataUnfitError(
        f"the alignment has {len(views.tilt_deg)} views and the series {len(tilts.tilt_deg)} tilts, and "
        f"their angles do not show which is which: {lost} views have no tilt at their angle, {doubtful} more "
        "than one. Give files that name the sections, or the angles before refinement (.rawtlt)",
    )


def _smallest_step(values: Array) -> float:
    steps = np.diff(np.unique(np.round(values, 2)))
    return float(steps[steps > _SAME_ANGLE * np.median(steps)].min()) if len(steps) else 1.0
