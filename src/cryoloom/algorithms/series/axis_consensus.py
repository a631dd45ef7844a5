"""The tilt axis of a session: one microscope, one axis; a series that differs is badly aligned or mirrored.

The median over all series of a session is more accurate than any single value. Two estimators that share only
the images are compared: the tracks each series was solved with, and the common line of its spectra. A series
alone cannot distinguish opposite directions; the other series can, and the hand of the microscope; if neither
decides, the direction is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.tilt_axis import across_axis
from cryoloom.model import TiltSeries

__all__ = ["LEAST_SERIES", "AxisConsensus", "AxisVerdict", "axis_consensus"]

_AGREE_DEG, _AGREE_ERRORS = 0.1, 3.0
"""Two estimates agree within so many degrees, or so many standard errors of their difference."""

Array = NDArray[np.float64]
Direction = Literal["as in the metadata", "opposite to the metadata", "open"]

LEAST_SERIES = 3  # of two that differ neither is outlying
OUTLYING_DEG = 1.5  # limit that AreTomo users apply for a second pass with a fixed axis


@dataclass(frozen=True, slots=True)
class AxisVerdict:
    """One series' axis beside the session's. Angles in degrees."""

    series: str
    told_deg: float | None
    measured_deg: float
    measured_by: str
    applied_deg: float | None
    common_line_deg: float | None
    from_consensus_deg: float
    """Measured minus consensus: signed, within a quarter of a turn."""
    is_half_a_turn_off: bool
    """The series has the opposite direction to most of its session."""
    is_outlying: bool
    is_at_odds: bool
    """Its tracks and its common line differ by more than an outlier does."""
    hand_agrees: bool | None
    """Whether its measured handedness is the nominal one; None if one of them is not known."""


@dataclass(frozen=True, slots=True)
class AxisConsensus:
    """Axis of a session, its standard error, and a verdict on every series."""

    axis_deg: float
    error_deg: float
    verdicts: tuple[AxisVerdict, ...]
    common_line_axis_deg: float | None = None
    """Median of the common lines; None if fewer than three series have one."""
    common_line_error_deg: float | None = None
    direction: Direction = "open"

    @property
    def outlying(self) -> tuple[str, ...]:
        """Series to align again with ``tilt_axis_deg`` set to the consensus and ``axis=fixed``."""
        return tuple(v.series for v in self.verdicts if v.is_outlying or v.is_half_a_turn_off)

    @property
    def estimators_agree(self) -> bool | None:
        """Whether tracks and common lines agree: within three standard errors or 0.1 degrees."""
        if self.common_line_axis_deg is None or self.common_line_error_deg is None:
            return None
        apart = abs(_within_quarter_turn(self.common_line_axis_deg - self.axis_deg))
        return bool(
            apart <= max(_AGREE_DEG, _AGREE_ERRORS * np.hypot(self.error_deg, self.common_line_error_deg))
        )


def axis_consensus(
    series: Sequence[TiltSeries],
    *,
    common_line_deg: Mapping[str, float] | None = None,
    outlying_deg: float = OUTLYING_DEG,
) -> AxisConsensus:
    """Median axis of aligned series. Raises DataUnfitError for fewer than three with a measured axis.

    common_line_deg : axis by the common line, by series' name, if known.
    """
    measured = [(one, axis) for one in series if (axis := one.tilt_axis_deg.measured) is not None]
    if len(measured) < LEAST_SERIES:
        raise DataUnfitError(
            f"a consensus of the tilt axis needs at least {LEAST_SERIES} aligned series; align more of them",
            n_series=len(measured),
        )
    lines = common_line_deg or {}
    middle, error, half = _median_line(np.array([axis for _, axis in measured]))
    verdicts = []
    for (one, axis), is_half in zip(measured, half, strict=True):
        apart, line = float(_within_quarter_turn(axis - middle)), lines.get(one.name)
        verdicts.append(
            AxisVerdict(
                one.name,
                one.tilt_axis_deg.told,
                axis,
                one.tilt_axis_deg.measured_by,
                one.tilt_axis_deg.applied,
                line,
                apart,
                bool(is_half),
                abs(apart) > outlying_deg,
                line is not None and abs(float(_within_quarter_turn(line - axis))) > outlying_deg,
                _hand_agrees(one),
            )
        )
    known = [line for one, _ in measured if (line := lines.get(one.name)) is not None]
    by_lines = _median_line(np.array(known)) if len(known) >= LEAST_SERIES else None
    return AxisConsensus(
        middle,
        error,
        tuple(verdicts),
        None if by_lines is None else by_lines[0],
        None if by_lines is None else by_lines[1],
        _direction(middle, verdicts),
    )


def _median_line(axes_deg: Array) -> tuple[float, float, NDArray[np.bool_]]:
    """Median direction, its standard error, and which of the axes have the opposite direction."""
    middle = _middle_of_lines(axes_deg)
    middle += float(np.median(_within_quarter_turn(axes_deg - middle)))
    apart = _within_quarter_turn(axes_deg - middle)
    # Of the two directions of that line, the one of most series.
    half = np.abs((axes_deg - middle + 180.0) % 360.0 - 180.0) > 90.0
    if half.mean() > 0.5:
        middle, half = middle + 180.0, ~half
    spread = 1.4826 * float(np.median(np.abs(apart)))
    # The standard error of a median is 1.2533 times that of a mean.
    error = 1.2533 * spread / np.sqrt(len(axes_deg))
    return float((middle + 180.0) % 360.0 - 180.0), float(error), half


def _middle_of_lines(axes_deg: Array) -> float:
    """Mean direction of lines, by doubled angles, which are equal for opposite directions."""
    doubled = np.deg2rad(2 * axes_deg)
    return float(np.rad2deg(np.arctan2(np.sin(doubled).mean(), np.cos(doubled).mean())) / 2)


def _within_quarter_turn(difference_deg: Array | float) -> Array:
    """Difference of two lines, from -90 to 90 degrees."""
    return (np.asarray(difference_deg) + 90.0) % 180.0 - 90.0


def _hand_agrees(series: TiltSeries) -> bool | None:
    hand = series.handedness
    return None if hand.told is None or hand.measured is None else bool(hand.told == hand.measured)


def _direction(axis_deg: float, verdicts: Sequence[AxisVerdict]) -> Direction:
    """Which of the two directions of its line the session's axis has, by the metadata and the handedness."""
    nominal = [v.told_deg for v in verdicts if v.told_deg is not None]
    hands = [v.hand_agrees for v in verdicts if v.hand_agrees is not None and not v.is_half_a_turn_off]
    # A nominal axis with the opposite direction mirrors every specimen, and so inverts the measured hand.
    if not nominal or (hands and np.mean(hands) < 0.5):
        return "open"
    towards = across_axis(nominal) @ across_axis(axis_deg)
    return "as in the metadata" if np.median(towards) > 0 else "opposite to the metadata"
