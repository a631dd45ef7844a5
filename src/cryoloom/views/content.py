"""Data of a report: values collected by the engine, without files and database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from cryoloom.contract.figures import Figure
from cryoloom.model import Average, Particles, TiltSeries, Tomogram
from cryoloom.views.data_table import DataTable
from cryoloom.views.step_results import Measured, StepResult

__all__ = ["ReportContent", "RunSummary", "SeriesReport"]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run of a step over the items of a project."""

    id: int
    step: str
    summary: str
    """Purpose of the step, in one sentence."""
    parameters: Mapping[str, Any]
    state: str
    n_done: int
    n_failed: int
    n_left_out: int
    started: datetime | None = None
    seconds: float = 0.0
    citations: tuple[str, ...] = ()
    device: str = ""


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """One tilt series, or an item gathered from several: its latest value and what the steps reported.

    Mappings are keyed by step.
    """

    name: str
    series: TiltSeries | None
    """With stack, poses and CTFs as far as known; None if import itself failed."""
    tomogram: Tomogram | None = None
    particles: Mapping[str, Particles] = field(default_factory=dict)
    """Particles that steps gave, by step."""
    average: Average | None = None
    """Average of an item that gathers particles of several series."""
    results: tuple[StepResult, ...] = ()
    """Results that every step reported, in the order of the steps."""
    warnings: Sequence[tuple[str, str]] = ()
    """Step and text."""
    failure: tuple[str, str] | None = None
    """Step and first error."""
    pending: str = ""
    """Decisions or parameters that are not applied yet; "" if the result is current."""
    files: Mapping[str, Path] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def axis_deg(self) -> float | None:
        """Median direction of the tilt axis; None without poses."""
        return None if self.series is None else self.series.median_axis_deg

    def measured(self, wanted: Callable[[Figure], bool]) -> Measured | None:
        """The last reported figure that satisfies ``wanted``, measurable or not; else None."""
        found = [one for result in self.results for one in result.measured if wanted(one.figure)]
        return found[-1] if found else None

    def kept(self, shows: str) -> Any:
        """Data of the last record presented by the drawing ``shows``; None if there is none."""
        found = [one.data for result in self.results for one in result.kept if one.record.shows == shows]
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Everything on the page."""

    project_name: str
    made_at: datetime
    cryoloom_version: str
    runs: tuple[RunSummary, ...]
    series: tuple[SeriesReport, ...]
    methods_text: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    """Digest of everything in the report; the same state needs no new report."""
    side_by_side: tuple[DataTable, ...] = ()
    """Runs of outside programs next to the native runs they replace."""
