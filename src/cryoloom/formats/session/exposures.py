"""Exposures of a series as mdoc, file names or angle files tell them: their order in time and their dose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.mdoc import Mdoc

__all__ = [
    "Exposure",
    "absent_orders",
    "accumulated_doses",
    "exposures_of",
    "in_order_of_acquisition",
    "places_in_time",
]


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is told of one exposure; None where nothing is."""

    tilt_deg: float
    movie_name: str | None = None
    acquired_at: datetime | None = None
    dose_per_angstrom2: float | None = None
    dose_by: str = ""
    prior_dose_per_angstrom2: float | None = None
    nominal_defocus_angstrom: float | None = None
    order: int | None = None
    """Position in time, where a file name or a list tells it."""
    section: int | None = None
    n_frames: int | None = None
    """Frames of the movie, as far as an mdoc is to be believed: more than 1."""


def exposures_of(mdoc: Mdoc) -> list[Exposure]:
    """Exposures in the order of the file; raises DataUnfitError where one has no tilt angle."""
    found = []
    for section in mdoc.sections:
        if section.tilt_deg is None:
            raise DataUnfitError(
                f"{mdoc.path.name} tells no TiltAngle for image {section.number}; complete the file"
            )
        dose, dose_by = section.dose_per_angstrom2() or (None, "")
        found.append(
            Exposure(
                tilt_deg=section.tilt_deg,
                movie_name=section.movie_name,
                acquired_at=section.acquired_at,
                dose_per_angstrom2=dose,
                dose_by=dose_by,
                prior_dose_per_angstrom2=section.prior_dose_per_angstrom2,
                nominal_defocus_angstrom=section.target_defocus_angstrom,
                section=section.number,
                n_frames=section.n_frames,
            )
        )
    return found


def in_order_of_acquisition(exposures: Sequence[Exposure]) -> tuple[list[Exposure], str]:
    """Exposures as they were taken, and by what: time, order told, prior dose, or the order of the file.

    Times have whole seconds: ties keep the order of prior doses, then of the file.
    """
    prior = [e.prior_dose_per_angstrom2 for e in exposures]
    known_prior = [p for p in prior if p is not None]
    if all(e.order is not None for e in exposures):
        return sorted(exposures, key=lambda e: e.order or 0), "order told"
    if all(e.acquired_at is not None for e in exposures):
        return sorted(exposures, key=lambda e: (e.acquired_at, e.prior_dose_per_angstrom2 or 0.0)), "DateTime"
    if len(set(known_prior)) == len(exposures):
        return sorted(exposures, key=lambda e: e.prior_dose_per_angstrom2 or 0.0), "PriorRecordDose"
    return list(exposures), "order of the file"


def places_in_time(exposures: Sequence[Exposure]) -> list[int]:
    """Place of each exposure among all that were taken, from 0; exposures as they were taken.

    Numbers in movies' names count exposures: one that is absent was exposed all the same.
    """
    numbers = _numbers(exposures)
    return [
        i if numbers is None or exposure.order is None else exposure.order - numbers.start
        for i, exposure in enumerate(exposures)
    ]


def absent_orders(exposures: Sequence[Exposure]) -> list[int]:
    """Numbers between those told that no exposure has: it was taken, and its movie is not there."""
    told = {exposure.order for exposure in exposures}
    return [order for order in _numbers(exposures) or () if order not in told]


def _numbers(exposures: Sequence[Exposure]) -> range | None:
    """Numbers of all exposures up to the last; None where the orders told do not count exposures.

    They begin at 0 or 1, or go on from one series to the next. Dates and times count nothing.
    """
    orders = {exposure.order for exposure in exposures if exposure.order is not None}
    n = len(exposures)
    if n == 0 or len(orders) < n:
        return None
    first = min(orders)
    numbers = range(min(first, 1) if first <= n // 2 else first, max(orders) + 1)
    return numbers if len(numbers) <= 2 * n else None


def accumulated_doses(
    exposures: Sequence[Exposure], dose_per_tilt: float | None, initial_dose: float
) -> tuple[list[tuple[float, float]], str]:
    """Dose before and after each exposure, e/A^2, and where it is from; exposures as they were taken.

    A dose the user gives counts alone, for every place in time (`places_in_time`). Else prior doses are
    believed where every exposure has one and they never fall short of what was exposed before; else doses are
    added up.
    Raises DataUnfitError where an exposure has no dose at all.
    """
    if dose_per_tilt is not None:
        return [
            (initial_dose + i * dose_per_tilt, initial_dose + (i + 1) * dose_per_tilt)
            for i in places_in_time(exposures)
        ], "user"
    doses = []
    for exposure in exposures:
        if exposure.dose_per_angstrom2 is None:
            raise DataUnfitError(
                f"no dose is told for the exposure at {exposure.tilt_deg:.1f} deg; "
                "give dose_per_tilt_per_angstrom2",
                got_per_angstrom2=0,
                expected_per_angstrom2="more than 0",
            )
        doses.append(exposure.dose_per_angstrom2)
    by = "+".join(sorted({exposure.dose_by for exposure in exposures}))
    prior = [exposure.prior_dose_per_angstrom2 for exposure in exposures]
    starts, total = [], 0.0
    for dose in doses:
        starts.append(total)
        total += dose
    # One per cent and 0.05 e/A^2: rounding of the doses that were added up.
    if all(
        told is not None and told >= 0.99 * added - 0.05 for told, added in zip(prior, starts, strict=True)
    ) and any(prior[1:]):
        starts = [float(told or 0.0) for told in prior]
        by += " after PriorRecordDose"
    return [
        (initial_dose + start, initial_dose + start + dose) for start, dose in zip(starts, doses, strict=True)
    ], by
