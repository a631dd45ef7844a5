"""Tilts of two sets of one series, matched by acquisition index and never by position."""

from __future__ import annotations

import numpy as np

from cryoloom.algorithms.series.view_matching import ViewEvidence
from cryoloom.errors import DataUnfitError
from cryoloom.model import Tilt, TiltSeries

__all__ = ["corresponding_tilts", "evidence_of_tilts"]

_SAME_TILT_DEG = 0.5
"""Nominal angles of one tilt agree to the rounding of mdocs and angle files; steps are 1 degree or more."""


def corresponding_tilts(series: TiltSeries, other: TiltSeries, role: str) -> dict[int, Tilt]:
    """Tilt of ``other`` for every acquisition index of ``series``.

    Raises DataUnfitError if the series differ in name or tilts: one that the other does not have, or that has
    another angle there.
    """
    if series.name != other.name:
        raise DataUnfitError(
            f"{role} brings the series {other.name}, expected {series.name}; series are matched by name"
        )
    theirs = {tilt.acquisition_index: tilt for tilt in other.tilts}
    unknown = sorted(tilt.acquisition_index for tilt in series.tilts if tilt.acquisition_index not in theirs)
    if unknown:
        raise DataUnfitError(
            f"{role} does not have the tilts of acquisition index {unknown} of {series.name}; "
            "both sets must come from the same tilts",
            got_tilts=len(other.tilts),
            expected_tilts=len(series.tilts),
        )
    for tilt in series.tilts:
        angle = theirs[tilt.acquisition_index].nominal_tilt_deg
        if abs(angle - tilt.nominal_tilt_deg) > _SAME_TILT_DEG:
            raise DataUnfitError(
                f"{role} has the tilt of acquisition index {tilt.acquisition_index} of {series.name} at "
                f"{angle:.2f} deg, expected {tilt.nominal_tilt_deg:.2f}; the sets were numbered in "
                "different orders of acquisition: import both with the same mdoc or order"
            )
    return theirs


def evidence_of_tilts(series: TiltSeries) -> ViewEvidence:
    """Data of a series' tilts with which the tilts of another program's views are found."""
    return ViewEvidence(
        np.array([tilt.nominal_tilt_deg for tilt in series.tilts]),
        np.array([tilt.dose_start_per_angstrom2 for tilt in series.tilts]),
        np.array([-1 if tilt.section is None else tilt.section for tilt in series.tilts], dtype=np.int64),
    )
