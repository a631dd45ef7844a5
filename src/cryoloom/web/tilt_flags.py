"""Flags of tilts, worst first, and decisions: one row for each tilt, for every page.

The program sets a flag for a finding of `select_tilts`, a CTF that differs from its neighbours, or a residual
that is larger than the others. A flag is not a decision: the user excludes a tilt, or otherwise the step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoloom.model import TiltSeries
from cryoloom.views.tilt_table import TiltRow, tilt_rows
from cryoloom.web.project_view import SeriesView

__all__ = [
    "CTF_REASON",
    "QUALITY_RECORD",
    "REASONS",
    "Flag",
    "JudgedTilt",
    "judged_tilts",
    "judged_tilts_of",
    "tilt_facts",
]

REASONS = {
    1: "dark",
    2: "shifted",
    3: "blurred",
    4: "ice or contamination",
    5: "CTF",
    6: "other",
}
CTF_REASON = 5
QUALITY_RECORD = "tilt_quality"
#: Chosen: resolution of a CTF fit over the median of the series. A lower limit flags the high tilts of good
#: series, whose rings fade earlier.
_POOR_RESOLUTION = 1.8
#: Chosen: distance of a defocus from the median of four neighbours; larger than focus errors between tilts.
_FAR_DEFOCUS_ANGSTROM = 5000.0
#: Chosen: residual of a tilt over the median of the series.
_FAR_RESIDUAL = 3.0
_LEAST_TILTS, _LEAST_RESIDUAL_ANGSTROM = 5, 10.0
"""Chosen: with fewer tilts the median is not reliable; smaller residuals are good enough."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag: proposed reason, figure as text, and severity (1 at the limit of the flag)."""

    reason: int
    text: str
    severity: float


@dataclass(frozen=True, slots=True)
class JudgedTilt:
    """A tilt with its flag and decision; None for a quantity that was not measured."""

    row: TiltRow
    mean_counts: float | None
    shift_fraction: float | None
    is_kept_by_user: bool
    """Whether a user keeps it, regardless of the steps."""
    is_by_user: bool
    """Whether there is a decision of a user."""
    flag: Flag | None

    @property
    def is_open(self) -> bool:
        """Whether the tilt has a flag and no decision."""
        return self.flag is not None and not self.is_by_user


def judged_tilts(
    series: TiltSeries, found: TiltSeries, quality: Any, overridden: frozenset[int]
) -> tuple[JudgedTilt, ...]:
    """Tilts in the order of the series.

    series : with the decisions of users. found : the same series without them. quality : the record
    ``tilt_quality`` of select_tilts, or None. overridden : acquisition indices with a user's decision.
    """
    measured = _by_index(quality)
    flags = _flags(found)
    judged = []
    for tilt, row in zip(series.tilts, tilt_rows(series), strict=True):
        index = tilt.acquisition_index
        excluded_by_user = tilt.exclusion is not None and tilt.exclusion.by.is_user
        judged.append(
            JudgedTilt(
                row=row,
                mean_counts=measured.get(index, {}).get("mean_counts"),
                shift_fraction=measured.get(index, {}).get("shift_fraction"),
                is_kept_by_user=tilt.exclusion is None and (index in overridden or tilt.kept_by is not None),
                is_by_user=index in overridden or excluded_by_user or tilt.kept_by is not None,
                flag=flags.get(index),
            )
        )
    return tuple(judged)


def judged_tilts_of(view: SeriesView) -> tuple[JudgedTilt, ...]:
    """Tilts of a series; empty if import failed."""
    if view.series is None or view.found is None:
        return ()
    return judged_tilts(view.series, view.found, view.record(QUALITY_RECORD), view.overridden)


def tilt_facts(tilt: JudgedTilt) -> dict[str, Any]:
    """A tilt as plain data."""
    return {
        **dataclasses.asdict(tilt.row),
        "mean_counts": tilt.mean_counts,
        "shift_fraction": tilt.shift_fraction,
        "excluded": not tilt.row.is_kept,
        "kept": tilt.is_kept_by_user,
        "by_user": tilt.is_by_user,
        "flag": None if tilt.flag is None else dataclasses.asdict(tilt.flag),
        "is_open": tilt.is_open,
    }


def _by_index(quality: Any) -> dict[int, dict[str, float | None]]:
    if not isinstance(quality, Mapping) or "acquisition_index" not in quality:
        return {}
    columns = {
        name: values
        for name, values in quality.items()
        if isinstance(values, Sequence) and len(values) == len(quality["acquisition_index"])
    }
    return {
        int(index): {name: values[i] for name, values in columns.items()}
        for i, index in enumerate(quality["acquisition_index"])
    }


def _flags(series: TiltSeries) -> dict[int, Flag]:
    """Worst flag of each tilt."""
    found: dict[int, Flag] = {}

    def doubt(index: int, flag: Flag) -> None:
        if index not in found or flag.severity > found[index].severity:
            found[index] = flag

    for index, flag in (*_ctf_doubts(series), *_alignment_doubts(series)):
        doubt(index, flag)
    for tilt in series.tilts:
        if tilt.exclusion is not None and not tilt.exclusion.by.is_user:
            doubt(tilt.acquisition_index, _flag_of_step(tilt.exclusion.reason, tilt.exclusion.figure))
    return found


def _flag_of_step(text: str, figure: float | None) -> Flag:
    """Tilts excluded by a step come before other flags: severity of 10 and more."""
    lower = text.lower()
    word = next((w for w in ("dark", "covered", "shifted", "blurred", "ctf") if w in lower), "")
    reason = {"dark": 1, "covered": 1, "shifted": 2, "blurred": 3, "ctf": 5}.get(word, 6)
    size = abs(figure or 0.0)
    # Low brightness is bad; for all others high values are bad. Lengths are in angstrom, fractions below one.
    worse = 1 - min(size, 1) if word == "dark" else min(size, 1) if size <= 1 else min(size / 100, 1)
    return Flag(reason, text, 10 + worse)


def _ctf_doubts(series: TiltSeries) -> list[tuple[int, Flag]]:
    fitted = [
        (t, t.ctf) for t in series.tilts if t.ctf is not None and not t.is_excluded and not t.ctf.predicted
    ]
    if len(fitted) < _LEAST_TILTS:
        return []
    found: list[tuple[int, Flag]] = []
    known = [c.fit_resolution_angstrom for _, c in fitted if c.fit_resolution_angstrom is not None]
    usual = float(np.median(known)) if known else None
    defocus = np.array([ctf.defocus_angstrom for _, ctf in fitted])
    places = np.arange(len(fitted))
    nearest = np.argsort(np.abs(places - places[:, None]), axis=1, kind="stable")[:, 1:5]
    offs = np.abs(defocus - np.median(defocus[nearest], axis=1)).tolist()
    for off, (tilt, ctf) in zip(offs, fitted, strict=True):
        if off > _FAR_DEFOCUS_ANGSTROM:
            text = f"defocus {off / 1e4:.2f} µm from that of its neighbours"
            found.append((tilt.acquisition_index, Flag(5, text, off / _FAR_DEFOCUS_ANGSTROM)))
        resolution = ctf.fit_resolution_angstrom
        if usual is not None and resolution is not None and resolution > _POOR_RESOLUTION * usual:
            text = f"CTF fits to {resolution:.0f} Å only, others to {usual:.0f} Å"
            found.append((tilt.acquisition_index, Flag(5, text, resolution / (_POOR_RESOLUTION * usual))))
    return found


def _alignment_doubts(series: TiltSeries) -> list[tuple[int, Flag]]:
    known = [
        (t.acquisition_index, t.pose.residual_angstrom)
        for t in series.tilts
        if t.pose is not None and t.pose.residual_angstrom is not None and not t.is_excluded
    ]
    if len(known) < _LEAST_TILTS:
        return []
    usual = float(np.median([residual for _, residual in known]))
    limit = max(_FAR_RESIDUAL * usual, _LEAST_RESIDUAL_ANGSTROM)
    return [
        (index, Flag(6, f"residual {residual:.0f} Å, others {usual:.0f} Å", residual / limit))
        for index, residual in known
        if residual > limit
    ]
