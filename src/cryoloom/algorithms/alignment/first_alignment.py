"""Start of an alignment: a tilt axis to about a degree and every image to within a few pixels of the field.

A nominal axis is tested against all others: metadata are sometimes wrong by 90 degrees, and often by ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.alignment.axis_search import AxisScores, find_axis, search_circle
from cryoloom.algorithms.alignment.coarse_alignment import CoarseAlignment, align_coarsely
from cryoloom.algorithms.series.tilt_images import TiltImages, shrink_images

__all__ = ["FirstAlignment", "align_first", "choose_axis"]

SETTLED_DEG, SEARCHED_DEG = 2.0, 7.5
"""A finer search that moves the axis by less than the first is the last; one that moves it by more than the
second ended near the edge of its range, 10 degrees, and another follows."""

Array = NDArray[np.float64]

#: Chosen: shorter side of the images in a search over all axes, which has many steps.
CIRCLE_PIXELS = 96
FINE_PIXELS = 128  # chosen: shorter side in the search about the chosen axis
COARSE_PIXELS = 192  # chosen: shorter side in the coarse alignment
MOST_ROUNDS = 3
"""A mirrored image has an axis of the other sign, up to 20 degrees off and so beyond one search."""
NOMINAL_TOLERANCE_DEG = 18.0  # metadata are often wrong by ten degrees; far beyond, it is another axis
#: Chosen: standard errors by which another axis must exceed the nominal one.
REFUTING_SIGNIFICANCE = 4.0


@dataclass(frozen=True, slots=True)
class FirstAlignment:
    """Axis and shifts to start from, and how the axis was found.

    circle : scores of axes over half a turn. fine : about the chosen one. nominal_is_refuted : the images
    agree with another axis, far from the nominal one.
    """

    coarse: CoarseAlignment
    circle: AxisScores
    fine: AxisScores
    nominal_is_refuted: bool


def align_first(
    tilt_images: TiltImages,
    tilt_deg: Array,
    usable: NDArray[np.bool_],
    nominal_axis_deg: float | None,
    *,
    max_shift_fraction: float = 0.3,
    hold_axis: bool = False,
) -> FirstAlignment:
    """Choose the axis, place the images, and refine the axis by the placed images.

    Images cannot distinguish opposite directions of an axis: the one nearer to the nominal axis is used;
    without a nominal axis, the one between -90 and 90 degrees. hold_axis : the nominal axis is used in any
    case.
    """
    axis, circle, refuted = choose_axis(tilt_images, tilt_deg, usable, nominal_axis_deg)
    is_held = hold_axis and nominal_axis_deg is not None
    if is_held and nominal_axis_deg is not None:
        axis = nominal_axis_deg
    small, tiny = shrink_images(tilt_images, COARSE_PIXELS), shrink_images(tilt_images, FINE_PIXELS)
    coarse = align_coarsely(small, tilt_deg, axis, usable, max_shift_fraction=max_shift_fraction)
    for _ in range(MOST_ROUNDS):
        fine = find_axis(tiny, tilt_deg, coarse, usable, axis + np.arange(-10.0, 10.1, 2.5), neighbours=(2,))
        moved = abs(fine.best_deg - axis)
        if moved <= SETTLED_DEG or is_held:
            break
        axis = fine.best_deg
        coarse = align_coarsely(small, tilt_deg, axis, usable, max_shift_fraction=max_shift_fraction)
        if moved < SEARCHED_DEG:
            break
    return FirstAlignment(
        CoarseAlignment(axis if is_held else fine.best_deg, coarse.shift_xy_angstrom, coarse.prominence),
        circle,
        fine,
        refuted,
    )


def choose_axis(
    tilt_images: TiltImages, tilt_deg: Array, usable: NDArray[np.bool_], nominal_axis_deg: float | None
) -> tuple[float, AxisScores, bool]:
    """Axis to begin with, the scores over half a turn, and whether they refute the nominal one."""
    circle = search_circle(shrink_images(tilt_images, CIRCLE_PIXELS), tilt_deg, usable)
    best = int(np.argmax(circle.scores))
    if nominal_axis_deg is None:
        return float((circle.best_deg + 90.0) % 180.0 - 90.0), circle, False
    away = np.abs((circle.axes_deg - nominal_axis_deg + 90.0) % 180.0 - 90.0)
    near = np.flatnonzero(away <= NOMINAL_TOLERANCE_DEG)
    rival = int(near[np.argmax(circle.scores[near])])
    if best in near or circle.significance(best, rival) < REFUTING_SIGNIFICANCE:
        return float(nominal_axis_deg), circle, False
    # Opposite directions are equivalent for images: keep that of the nominal axis.
    half_turns = np.round((nominal_axis_deg - circle.best_deg) / 180.0)
    return float(circle.best_deg + 180.0 * half_turns), circle, True
