"""The tilt axis of a session: one microscope, one axis; a series that differs is badly aligned or mirrored.

The median over all series of a session is better than any one of them. Half a turn cannot be seen in one
series; beside the others it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.model import TiltSeries

__all__ = ["AxisConsensus", "AxisVerdict", "axis_consensus"]

Array = NDArray[np.float64]

LEAST_SERIES = 3
OUTLYING_DEG = 1.5  # AreTomo users' rule for a second pass with the axis held


@dataclass(frozen=True, slots=True)
class AxisVerdict:
    """One series' axis beside the session's. Angles in degrees."""

    series: str
    told_deg: float | None
    measured_deg: float
    from_consensus_deg: float
    """Signed, within a quarter of a turn."""
    is_half_a_turn_off: bool
    is_outlying: bool


@dataclass(frozen=True, slots=True)
class AxisConsensus:
    """Axis of a session, its standard error, and what it says of every series."""

    axis_deg: float
    error_deg: float
    verdicts: tuple[AxisVerdict, ...]

    @property
    def outlying(self) -> tuple[str, ...]:
        """Series to align again with ``tilt_axis_deg`` set to the consensus and ``axis=fixed``."""
        return tuple(v.series for v in self.verdicts if v.is_outlying or v.is_half_a_turn_off)


def axis_consensus(series: Sequence[TiltSeries], *, outlying_deg: float = OUTLYING_DEG) -> AxisConsensus:
    """Median axis of aligned series. Raises DataUnfitError for fewer than three with a measured axis."""
    measured: Mapping[str, tuple[float | None, float]] = {
        one.name: (one.tilt_axis_deg.told, one.tilt_axis_deg.measured)
        for one in series
        if one.tilt_axis_deg.measured is not None
    }
    if len(measured) < LEAST_SERIES:
        raise DataUnfitError(
            f"a consensus of the tilt axis needs at least {LEAST_SERIES} aligned series; align more of them",
            n_series=len(measured),
        )
    axes = np.array([axis for _, axis in measured.values()])
    middle = _middle_of_lines(axes)
    apart = (axes - middle + 90.0) % 180.0 - 90.0
    middle += float(np.median(apart))
    apart = (axes - middle + 90.0) % 180.0 - 90.0
    # Of the two directions of that line, the one most series have.
    half = np.abs((axes - middle + 180.0) % 360.0 - 180.0) > 90.0
    if half.mean() > 0.5:
        middle, half = middle + 180.0, ~half
    spread = 1.4826 * float(np.median(np.abs(apart)))
    # The standard error of a median is 1.2533 times that of a mean.
    error = 1.2533 * spread / np.sqrt(len(axes))
    verdicts = tuple(
        AxisVerdict(name, told, axis, float(a), bool(h), bool(abs(a) > outlying_deg))
        for (name, (told, axis)), a, h in zip(measured.items(), apart, half, strict=True)
    )
    return AxisConsensus(float((middle + 180.0) % 360.0 - 180.0), error, verdicts)


def _middle_of_lines(axes_deg: Array) -> float:
    """Mean direction of lines: doubled angles do not care for half a turn."""
    doubled = np.deg2rad(2 * axes_deg)
    return float(np.rad2deg(np.arctan2(np.sin(doubled).mean(), np.cos(doubled).mean())) / 2)
