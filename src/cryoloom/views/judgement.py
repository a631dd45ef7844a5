"""Good, check or poor for each series, from limits that the page states.

Most limits are the bounds that steps declare for their figures (`contract.figures.Bounds`); here are those of
the series itself. 750 angstrom of shift and 1.5 degrees from the session's median axis, as well as the 20
angstrom of CTF resolution that the CTF step declares, are what DenoisET asks of a tomogram worth training on
(github.com/apeck12/denoiset); the others are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from cryoloom.contract.figures import Figure
from cryoloom.views.content import SeriesReport
from cryoloom.views.numbers import NOT_MEASURABLE, with_unit

__all__ = [
    "SERIES_CRITERIA",
    "Criterion",
    "Finding",
    "Light",
    "criteria_of",
    "judge",
    "overall",
    "session_axis_deg",
]

Light = Literal["good", "look", "poor", "failed", "unknown"]
_ORDER: tuple[Light, ...] = ("poor", "look", "unknown", "good")


@dataclass(frozen=True, slots=True)
class Criterion:
    """A criterion: good up to one bound, worth checking up to the other, poor beyond."""

    title: str
    unit: str
    good_to: float
    look_to: float
    why: str
    value: Callable[[SeriesReport, float | None], float | None]
    """Value of a series, given the median tilt axis of the session."""

    def light(self, value: float | None) -> Light:
        """Class of a value; unknown if there is none."""
        if value is None or math.isnan(value):
            return "unknown"
        if value <= self.good_to:
            return "good"
        return "look" if value <= self.look_to else "poor"


@dataclass(frozen=True, slots=True)
class Finding:
    """A criterion applied to one series; no value, but a reason, where it could not be measured."""

    criterion: Criterion
    value: float | None
    light: Light
    reason: str = ""

    @property
    def text(self) -> str:
        """Value and its limit, or the reason why there is none."""
        if self.value is None:
            return f"{NOT_MEASURABLE}: {self.reason}" if self.reason else NOT_MEASURABLE
        unit = self.criterion.unit
        return f"{with_unit(self.value, unit)} (good up to {with_unit(self.criterion.good_to, unit)})"


def session_axis_deg(items: Iterable[SeriesReport]) -> float | None:
    """Median tilt axis of three or more series; None for fewer."""
    axes = [axis for item in items if (axis := item.axis_deg) is not None]
    return median(axes) if len(axes) >= 3 else None


def criteria_of(items: Iterable[SeriesReport]) -> tuple[Criterion, ...]:
    """Criteria that apply to any of the series: those of the series itself, and figures with bounds."""
    figures = {
        one.figure: None
        for item in items
        for result in item.results
        for one in result.measured
        if one.figure.bounds is not None
    }
    return (*SERIES_CRITERIA, *(_of_figure(figure) for figure in figures))


def judge(item: SeriesReport, session_axis: float | None) -> tuple[Finding, ...]:
    """Findings on a series: criteria of the series, then every figure with bounds.

    A figure that was not reported is omitted; one reported as not measurable is a finding without a value.
    """
    findings = []
    for criterion in SERIES_CRITERIA:
        value = criterion.value(item, session_axis)
        if value is not None:
            findings.append(Finding(criterion, value, criterion.light(value)))
    last = {
        one.figure.name: one
        for result in item.results
        for one in result.measured
        if one.figure.bounds is not None
    }
    for one in last.values():
        criterion = _of_figure(one.figure)
        findings.append(Finding(criterion, one.value, criterion.light(one.value), one.reason))
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


def _axis_difference_deg(item: SeriesReport, session_axis: float | None) -> float | None:
    axis = item.axis_deg
    if axis is None or session_axis is None:
        return None
    return abs((axis - session_axis + 90.0) % 180.0 - 90.0)


def _of_figure(figure: Figure) -> Criterion:
    """Criterion from the bounds that the step declares for one of its figures."""
    bounds = figure.bounds
    if bounds is None:
        raise ValueError(f"the figure {figure.name} declares no bounds; it cannot be classified")

    def value(item: SeriesReport, _: float | None) -> float | None:
        found = item.measured(lambda other: other.name == figure.name)
        return None if found is None else found.value

    return Criterion(figure.title, figure.unit, bounds.good_to, bounds.look_to, bounds.why, value)


SERIES_CRITERIA = (
    Criterion(
        "Tilts excluded",
        "percent",
        20.0,
        40.0,
        "Each missing tilt widens the gaps in Fourier space.",
        _excluded_percent,
    ),
    Criterion(
        "Largest image shift",
        "angstrom",
        750.0,
        1500.0,
        "Strongly shifted tilts show other parts of the specimen.",
        _largest_shift_angstrom,
    ),
    Criterion(
        "Tilt axis from the session's median",
        "deg",
        1.5,
        3.0,
        "The axis belongs to the microscope; a series that differs is badly aligned.",
        _axis_difference_deg,
    ),
)
