"""Reports of a step on its result: figures (numbers) and records (curves and tables), with meanings.

A step declares them in ``@step(figures=..., records=...)``. Report, comparison of runs, selection of items,
reference pages and web pages read this declaration; no other code refers to a figure by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Bounds", "Column", "Figure", "FigureRole", "Record", "check_declared"]

FigureRole = Literal[
    "",
    "tilt_axis",
    "tilt_axis_evidence",
    "alignment_residual",
    "alignment_error",
    "bead_diameter",
    "handedness",
    "handedness_evidence",
    "defocus",
    "ctf_resolution",
    "motion",
    "thickness",
]
"""What a figure is to code outside its step, which finds it by this role. tilt_axis: direction in degrees;
tilt_axis_evidence: the same, measured without the tracks of the alignment, compared over a session;
alignment_residual and alignment_error: fit to the tracks and error on left-out tracks, in angstrom. defocus,
ctf_resolution, motion, thickness: of a series, in angstrom, followed through a session."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits that classify a series: good up to the first, worth checking up to the second, poor beyond."""

    good_to: float
    look_to: float
    why: str
    """Reason for the limits, in one sentence."""


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a figure in the table of all series, and in the plots over the session."""

    heading: str
    digits: int = 1
    unit: str = ""
    """Unit in the table; the figure's own unit if empty."""
    divide_by: float = 1.0
    """Divisor that converts the figure to this unit."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that describes the quality of a result.

    name : as in `StepContext.figure`; it ends in the unit.
    unit : "angstrom", "deg", "percent", "tilts", ... or "" for a pure number.
    title : heading in tables, a few words.
    meaning : one or two sentences for a reader who did not run the processing.
    good : which values are good, in words; optional if ``bounds`` give them.
    """

    name: str
    unit: str
    title: str
    meaning: str
    good: str = ""
    bounds: Bounds | None = None
    column: Column | None = None
    role: FigureRole = ""


@dataclass(frozen=True, slots=True)
class Record:
    """Curves or a table that a step stores with its result, as plain data.

    name : as in `StepContext.record`.
    meaning : caption for a reader who did not run the processing.
    shows : the drawing in `cryoloom.views` that presents it; "table" presents any plain data.
    """

    name: str
    meaning: str
    shows: str = "table"


_UNIT_OF_SUFFIX = {
    "_per_angstrom2": "e/angstrom^2",
    "_per_angstrom": "1/angstrom",
    "_angstrom": "angstrom",
    "_percent": "percent",
    "_deg": "deg",
    "_px": "px",
    "_kv": "kV",
    "_seconds": "s",
    "_nats": "nats",
}
"""Longest first, because ``_per_angstrom`` also ends in ``_angstrom``."""


def check_declared(step: str, figures: Iterable[Figure], records: Iterable[Record]) -> None:
    """Raise ValueError if a name is declared twice, a text is empty, or a unit contradicts the name."""
    figures, records = tuple(figures), tuple(records)
    for kind, names in (("figure", [f.name for f in figures]), ("record", [r.name for r in records])):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"step {step} declares the {kind} {', '.join(twice)} twice")
    for figure in figures:
        unit = next((u for suffix, u in _UNIT_OF_SUFFIX.items() if figure.name.endswith(suffix)), None)
        if unit is not None and unit != figure.unit:
            raise ValueError(
                f"step {step}: the figure {figure.name} has the unit {figure.unit!r}; its name says {unit!r}"
            )
        if not (figure.title and figure.meaning):
            raise ValueError(f"step {step}: the figure {figure.name} needs a title and a meaning")
    for record in records:
        if not record.meaning:
            raise ValueError(f"step {step}: the record {record.name} needs a meaning")
