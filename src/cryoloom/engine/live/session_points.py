"""The series of a session in the order in which they came, with the figures followed through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cryoloom.contract.discovery import figure_names
from cryoloom.contract.figures import FigureRole
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = [
    "FOLLOWED",
    "Followed",
    "SeriesPoint",
    "followed",
    "seconds_to_go",
    "session_points",
    "usual_limits",
]

_LEAST_POINTS = 4
"""Chosen: fewer have no usual range."""
_N_FOR_RATE = 8
"""Chosen: number of last series from whose ends the present rate follows."""
_USUAL_DEVIATIONS = 4.5
"""Chosen: of normal values one in 150,000 lies outside."""
#: Chosen: least deviation as a fraction of the median, for figures that hardly vary.
_LEAST_PART = 0.02


@dataclass(frozen=True, slots=True)
class Followed:
    """A figure of series that is followed through a session."""

    role: FigureRole
    title: str
    unit: str
    scale: float
    """From the stored unit to the shown one."""

    @property
    def figure(self) -> str:
        """The name that steps declare with this role; settings of alerts are kept by it."""
        (name,) = figure_names(self.role)
        return name

    def shown(self, value: float) -> str:
        """The value as it is read by people."""
        return f"{value * self.scale:.4g} {self.unit}"


FOLLOWED = (
    Followed("defocus", "defocus", "µm", 1e-4),
    Followed("ctf_resolution", "CTF fit", "Å", 1.0),
    Followed("motion", "motion", "Å", 1.0),
    Followed("tilt_axis", "tilt axis", "°", 1.0),
    Followed("alignment_residual", "residual", "Å", 1.0),
    Followed("thickness", "thickness", "nm", 0.1),
)


@dataclass(frozen=True, slots=True)
class SeriesPoint:
    """A series as a point in time."""

    name: str
    when: float
    """Begin of the first work on it, in seconds since 1970; 0 if that is not known."""
    node: str
    """The step that worked on it last."""
    n_done: int
    failed_in: str | None
    """Step that failed first."""
    figures: Mapping[str, float]
    ended: float = 0.0
    """End of the last work on it so far, in seconds since 1970; 0 if that is not known."""


def followed(figure: str) -> Followed | None:
    """Title and unit of a figure; None if it is not followed."""
    return next((one for one in FOLLOWED if one.figure == figure), None)


def session_points(history: Mapping[str, Sequence[tuple[RunRecord, ItemRecord]]]) -> list[SeriesPoint]:
    """All series, the newest last. history : results of each, in the order of the workflow."""
    points = []
    for name, made in history.items():
        times = [item.started for _, item in made if item.started is not None]
        ends = [
            item.started.timestamp() + item.seconds
            for _, item in made
            if item.started is not None and item.state == "done"
        ]
        points.append(
            SeriesPoint(
                name,
                min(times).timestamp() if times else 0.0,
                made[-1][0].node if made else "",
                sum(item.state == "done" for _, item in made),
                next((run.node for run, item in made if item.state == "failed"), None),
                {key: value for _, item in made for key, value in item.figures.items()},
                max(ends, default=0.0),
            )
        )
    return sorted(points, key=lambda one: (one.when, one.name))


def seconds_to_go(points: Sequence[SeriesPoint], n_steps: int) -> float | None:
    """Time until what came so far is processed, as fast as the last few series were.

    None before two series are finished, and 0 if nothing waits. Failed series are not waited for.
    """
    waiting = [one for one in points if one.failed_in is None and one.n_done < n_steps]
    if not waiting:
        return 0.0
    ends = sorted(one.ended for one in points if one.n_done >= n_steps and one.ended > 0)[-_N_FOR_RATE:]
    if len(ends) < 2:
        return None
    seconds_per_series = (ends[-1] - ends[0]) / (len(ends) - 1)
    return seconds_per_series * sum(1 - one.n_done / n_steps for one in waiting)


def usual_limits(values: Sequence[float | None]) -> tuple[float, float] | None:
    """Usual range in a session: median and 4.5 robust standard deviations; None for fewer than 4 values."""
    known = np.array([v for v in values if v is not None and np.isfinite(v)])
    if len(known) < _LEAST_POINTS:
        return None
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    reach = max(_USUAL_DEVIATIONS * spread, _LEAST_PART * abs(middle), 1e-6)
    return middle - reach, middle + reach
