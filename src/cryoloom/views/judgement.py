"""A plain traffic light for each series, from thresholds that the page states.

20 angstrom of CTF resolution, 750 angstrom of shift and 1.5 degrees from the session's median axis are what
DenoisET asks of a tomogram worth training on (github.com/apeck12/denoiset); the others are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from cryoloom.views.content import SeriesReport
from cryoloom.views.meanings import number_text

__all__ = ["CRITERIA", "Criterion", "Finding", "Light", "figure", "judge", "overall", "session_axis_deg"]

Light = Literal["good", "look", "poor", "failed", "unknown"]
_ORDER: tuple[Light, ...] = ("poor", "look", "unknown", "good")


@dataclass(frozen=True, slots=True)
class Criterion:
    """Something judged: good up to one bound, worth a look up to the other, poor beyond."""

    title: str
    unit: str
    good_to: float
    look_to: float
    why: str
    value: Callable[[SeriesReport, float | None], float | None]

    def light(self, value: float | None) -> Light:
        """Where the value falls; unknown where there is none."""
        if value is None or math.isnan(value):
            return "unknown"
        if value <= self.good_to:
            return "good"
        return "look" if value <= self.look_to else "poor"


@dataclass(frozen=True, slots=True)
class Finding:
    """A criterion applied to one series."""

    criterion: Criterion
    value: float
    light: Light

    @property
    def text(self) -> str:
        """Value and what it was held against."""
        unit = f"\u202f{self.criterion.unit}" if self.criterion.unit else ""
        return f"{number_text(self.value)}{unit} (good up to {number_text(self.criterion.good_to)}{unit})"


def figure(item: SeriesReport, name: str) -> float | None:
    """Figure of that name, whichever step recorded it last."""
    found = [figures[name] for figures in item.figures.values() if name in figures]
    return found[-1] if found else None


def session_axis_deg(items: Iterable[SeriesReport]) -> float | None:
    """Median tilt axis of three or more series; None of fewer, where there is nothing to agree with."""
    axes = [axis for item in items if (axis := _axis_deg(item)) is not None]
    return median(axes) if len(axes) >= 3 else None


def judge(item: SeriesReport, session_axis: float | None) -> tuple[Finding, ...]:
    """What can be said of a series; criteria without a value are left out."""
    findings = []
    for criterion in CRITERIA:
        value = criterion.value(item, session_axis)
        if value is not None:
            findings.append(Finding(criterion, value, criterion.light(value)))
    return tuple(findings)


def overall(item: SeriesReport, findings: Iterable[Finding]) -> Light:
    """The worst of the findings; failed where a step failed, unknown where nothing was measured."""
    if item.failure is not None:
        return "failed"
    lights = {finding.light for finding in findings}
    return next((light for light in _ORDER if light in lights), "unknown")


def _excluded_percent(item: SeriesReport, _: float | None) -> float | None:
    if item.series is None or not item.series.tilts:
        return None
    return 100.0 * (1 - len(item.series.included) / len(item.series.tilts))


def _largest_shift_angstrom(item: SeriesReport, _: float | None) -> float | None:
    """Largest shift that no other choice of the specimen's origin would take away."""
    poses = [tilt.pose for tilt in item.series.included if tilt.pose is not None] if item.series else []
    if len(poses) < 3:
        return None
    rows = np.concatenate([pose.magnification * pose.matrix[:2] for pose in poses])
    shifts = np.array([pose.shift_xy_angstrom for pose in poses])
    origin = np.linalg.lstsq(rows, shifts.ravel(), rcond=None)[0]
    left = shifts - (rows @ origin).reshape(-1, 2)
    return float(np.hypot(left[:, 0], left[:, 1]).max())


def _axis_deg(item: SeriesReport) -> float | None:
    poses = [tilt.pose for tilt in item.series.included if tilt.pose is not None] if item.series else []
    return median(pose.axis_deg for pose in poses) if poses else None


def _axis_difference_deg(item: SeriesReport, session_axis: float | None) -> float | None:
    axis = _axis_deg(item)
    if axis is None or session_axis is None:
        return None
    return abs((axis - session_axis + 90.0) % 180.0 - 90.0)


def _of_figure(name: str) -> Callable[[SeriesReport, float | None], float | None]:
    return lambda item, _: figure(item, name)


CRITERIA = (
    Criterion(
        "Tilts left out",
        "%",
        20.0,
        40.0,
        "Each missing tilt widens the gaps in Fourier space.",
        _excluded_percent,
    ),
    Criterion(
        "Motion within an exposure, median",
        "Å",
        15.0,
        40.0,
        "Motion is corrected between frames, not within one.",
        _of_figure("motion_median_angstrom"),
    ),
    Criterion(
        "CTF fit resolution, median",
        "Å",
        20.0,
        40.0,
        "Without rings beyond this, the defocus is a guess.",
        _of_figure("fit_resolution_median_angstrom"),
    ),
    Criterion(
        "Alignment residual, mean",
        "Å",
        10.0,
        30.0,
        "Features of this size and finer are blurred in the tomogram.",
        _of_figure("residual_mean_angstrom"),
    ),
    Criterion(
        "Largest image shift",
        "Å",
        750.0,
        1500.0,
        "Strongly shifted tilts show other parts of the specimen.",
        _largest_shift_angstrom,
    ),
    Criterion(
        "Tilt axis from the session's median",
        "°",
        1.5,
        3.0,
        "The axis belongs to the microscope; a series that differs is badly aligned.",
        _axis_difference_deg,
    ),
)
