"""Images of a series as mdocs, file names or angle files give them: their order in time, tilt and dose.

Each quantity is decided from all its sources by one rule (docs/reference/import.md), and what every source
said is kept as `Evidence`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from statistics import median

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.acquisition_order import OrderSource, decide_order
from cryoloom.formats.session.mdoc import Mdoc
from cryoloom.formats.session.movie_names import read_movie_name
from cryoloom.model.evidence import Evidence, Source

__all__ = [
    "Exposure",
    "absent_orders",
    "accumulated_doses",
    "decided_angles",
    "exposures_of",
    "in_order_of_acquisition",
    "places_in_time",
    "radians_note",
    "require_signs",
]

_ANGLE_TOLERANCE_DEG = 1.0
"""Names hold the angle that was requested, often rounded to a degree; the stage misses it by some tenths."""
_FEWEST_FOR_RADIANS = 7
"""Chosen: fewer tilts may span little."""
_RADIANS = (0.5, 1.4)
"""Largest tilts of usual series, 29 to 80 deg, in radians."""
_FEWEST_TWICE = 3
"""Different angles that are there twice, for their signs to be lost."""
_MOST_DOSE_PER_TILT = 1000.0
"""Chosen: no tilt has so much; such a number has another unit."""
_MUCH_DOSE = 500.0
"""Dose of a whole series: usual ones have 60 to 200 e/A^2. A larger number may be electrons per pixel."""
_FEWEST_OF_A_TOTAL = 4
"""Images whose doses grow like a running total, for it to be one."""
_EQUAL_DOSES = 0.02
"""Doses that differ by no more, relatively, are of one exposure time: the beam alone varies."""
_MORE_PRIOR_DOSE, _MORE_PRIOR_PER_ANGSTROM2 = 1.3, 5.0
"""Chosen: a prior dose beyond this ratio and sum holds more than the exposures of the series, and the user
is warned."""
_SAME_DOSE = (0.67, 1.5)
"""Chosen: ratio of two statements about one dose that needs no note."""
_LEAST_RANGE_DEG = 0.05
"""Chosen: angles that differ by less are one number that was repeated."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Known properties of one image; None for unknown ones."""

    tilt_deg: float
    movie_name: str | None = None
    acquired_at: datetime | None = None
    dose_per_angstrom2: float | None = None
    dose_by: str = ""
    prior_dose_per_angstrom2: float | None = None
    nominal_defocus_angstrom: float | None = None
    order: int | None = None
    """Number in time: in the movie's name, or in a list."""
    section: int | None = None
    n_frames: int | None = None
    """Frames of the movie, if the mdoc gives more than 1; it writes 1 for any movie."""
    order_is_given: bool = False
    """True if the user's pattern says which number of a name it is."""
    named_tilt_deg: float | None = None
    """Tilt in the movie's name."""
    tilt_is_named: bool = False
    """True if the tilt is that of the name, for want of a TiltAngle."""
    named_at: datetime | None = None
    """Time in the movie's name."""
    other_dose_per_angstrom2: float | None = None
    """Dose by the next of the mdoc's fields that give one."""
    other_dose_by: str = ""
    movie_folders: tuple[str, ...] = ()
    """Folders of the movie on the microscope's computer, the one that contains it first."""

    @property
    def label(self) -> str:
        """What to call the image in a message."""
        return self.movie_name or f"the image at {self.tilt_deg:.1f} deg"


def exposures_of(mdoc: Mdoc) -> list[Exposure]:
    """Exposures in the order of the file; raises DataUnfitError where one has no tilt angle at all."""
    if any(section.is_continuous_tilt for section in mdoc.sections):
        raise DataUnfitError(
            f"{mdoc.path.name} describes one movie taken while the stage turned (FrameTSStartEndFrames), "
            "which is not supported; cut it into one movie or image a tilt first, e.g. with IMOD's "
            "alignframes, and import those"
        )
    found = []
    for section in mdoc.sections:
        name = read_movie_name(section.movie_name or "")
        tilt = section.tilt_deg if section.tilt_deg is not None else name.tilt_deg
        if tilt is None:
            raise DataUnfitError(
                f"{mdoc.path.name} gives no TiltAngle for image {section.number}; complete the file"
            )
        doses = section.doses_per_angstrom2()
        dose, dose_by = doses[0] if doses else (None, "")
        other, other_by = doses[1] if len(doses) > 1 else (None, "")
        found.append(
            Exposure(
                tilt_deg=tilt,
                movie_name=section.movie_name,
                movie_folders=section.movie_folders,
                acquired_at=section.acquired_at,
                dose_per_angstrom2=dose,
                dose_by=dose_by,
                prior_dose_per_angstrom2=section.prior_dose_per_angstrom2,
                nominal_defocus_angstrom=section.target_defocus_angstrom,
                order=name.number,
                section=section.number,
                n_frames=section.n_frames,
                named_tilt_deg=name.tilt_deg,
                tilt_is_named=section.tilt_deg is None,
                named_at=name.acquired_at,
                other_dose_per_angstrom2=other,
                other_dose_by=other_by,
            )
        )
    return found


def decided_angles(exposures: Sequence[Exposure]) -> tuple[list[Exposure], Evidence]:
    """Exposures with the tilt to use, and the evidence for it.

    The mdoc's TiltAngle is the stage's, so it counts; the tilt in a movie's name only checks it. Names that
    are off by one angle or by the sign are noted. Where both hold the same angles, but not of the same
    images, names and sections are crossed and nothing shows which is right. Raises DataUnfitError then, and
    where all angles are equal.
    """
    stage = [e.tilt_deg for e in exposures]
    lacking = [e.label for e in exposures if e.tilt_is_named]
    named = [e.named_tilt_deg for e in exposures]
    both = [(a, b, e) for a, b, e in zip(stage, named, exposures, strict=True) if b is not None]
    stage_says = len(exposures) < 2 or max(stage) - min(stage) > _LEAST_RANGE_DEG
    angles_by = "pattern" if all(e.order_is_given for e in exposures) else "TiltAngle"
    sources = [Source(angles_by, _range(stage), "" if stage_says else "the same for all images")]
    if not both:
        if not stage_says:
            raise DataUnfitError(
                f"all images are recorded at {stage[0]:g} deg; give the mdoc the true angles, or "
                "import by pattern"
            )
        require_signs(stage)
        return list(exposures), Evidence(
            "tilt angles", _range(stage), angles_by, tuple(sources), radians_note(stage)
        )
    names = [b for _, b, _ in both]
    names_say = max(names) - min(names) > _LEAST_RANGE_DEG
    sources.append(Source("names of movies", _range(names), "" if names_say else "the same for all images"))
    if not stage_says and names_say and len(both) == len(exposures):
        used = [replace(e, tilt_deg=e.named_tilt_deg or 0.0) for e in exposures]
        note = "TiltAngle is the same for all images; the tilts in the names of movies are used"
        return used, Evidence("tilt angles", _range(names), "names of movies", tuple(sources), note)
    if not stage_says:
        raise DataUnfitError(
            f"all images are recorded at {stage[0]:g} deg; give the mdoc the true angles, or import "
            "by pattern"
        )
    lost = (
        _what_angles_lost([(a, b) for a, b, _ in both]) if names_say and len(both) == len(exposures) else ""
    )
    if lost:
        used = [replace(e, tilt_deg=e.named_tilt_deg or 0.0) for e in exposures]
        sources[0] = replace(sources[0], why_not=lost)
        note = f"TiltAngle holds the tilts in the names of movies {lost}; those in the names are used"
        return used, Evidence("tilt angles", _range(names), "names of movies", tuple(sources), note)
    note = _angles_note([(a, b, e.label) for a, b, e in both]) if names_say else ""
    if lacking and names_say and any(abs(b - a) > _ANGLE_TOLERANCE_DEG for a, b, _ in both):
        raise DataUnfitError(
            f"TiltAngle of {lacking[0]} is missing or impossible, and the tilts in the names of other movies "
            "are not their TiltAngle, so that its tilt is not known; correct the TiltAngle lines, or "
            "import by pattern"
        )
    if lacking:
        note = (f"no TiltAngle is given for {lacking[0]}; the tilt in its name is used. " + note).strip()
    require_signs(stage)
    note = "; ".join(part for part in (note, radians_note(stage)) if part)
    return list(exposures), Evidence("tilt angles", _range(stage), "TiltAngle", tuple(sources), note)


def radians_note(tilt_deg: Sequence[float]) -> str:
    """What to say of angles that would be a usual series if they were radians."""
    largest = max((abs(tilt) for tilt in tilt_deg), default=0.0)
    if len(tilt_deg) < _FEWEST_FOR_RADIANS or not _RADIANS[0] <= largest <= _RADIANS[1]:
        return ""
    return (
        f"the {len(tilt_deg)} angles reach {largest:.2f} deg only; if they are radians, write degrees "
        f"({math.degrees(largest):.0f} deg)"
    )


def require_signs(tilt_deg: Sequence[float]) -> None:
    """Raise DataUnfitError for angles of one sign that are all there twice: their signs were lost."""
    counts = Counter(round(abs(tilt), 1) for tilt in tilt_deg if abs(tilt) > _ANGLE_TOLERANCE_DEG)
    one_sign = min(tilt_deg, default=0.0) > -_ANGLE_TOLERANCE_DEG or max(tilt_deg) < _ANGLE_TOLERANCE_DEG
    if one_sign and len(counts) >= _FEWEST_TWICE and set(counts.values()) == {2}:
        raise DataUnfitError(
            f"every tilt angle occurs twice, from {min(tilt_deg):g} to {max(tilt_deg):g} deg: the signs of "
            "the angles were lost; give angles with their signs"
        )


def _what_angles_lost(both: Sequence[tuple[float, float]]) -> str:
    """How TiltAngle is derived from the tilt in the name, if it carries less information: pairs of both."""
    signs = {b > 0 for _, b in both if abs(b) > _ANGLE_TOLERANCE_DEG}
    if len(signs) == 2 and all(abs(a - abs(b)) <= _ANGLE_TOLERANCE_DEG for a, b in both):
        return "without their sign"
    largest = max(abs(a) for a, _ in both)
    in_radians = all(abs(math.degrees(a) - b) <= _ANGLE_TOLERANCE_DEG for a, b in both)
    return "in radians" if largest <= 0.5 * math.pi and in_radians else ""


def _angles_note(both: Sequence[tuple[float, float, str]]) -> str:
    """Notes on names that differ from the angles; raises DataUnfitError if they are interchanged."""
    differences = [b - a for a, b, _ in both]
    typical = median(differences)
    wrong = [one for one in both if abs(one[1] - one[0]) > _ANGLE_TOLERANCE_DEG]
    if not wrong:
        return ""
    if all(abs(difference - typical) <= _ANGLE_TOLERANCE_DEG for difference in differences):
        return (
            f"the tilts in the names of movies are {typical:+.1f} deg off TiltAngle for all images (a "
            "pretilt?); TiltAngle, the stage's, is used"
        )
    if all(abs(a + b) <= _ANGLE_TOLERANCE_DEG for a, b, _ in both):
        return (
            "the tilts in the names of movies have the opposite sign of TiltAngle; TiltAngle, the stage's, "
            "is used. A wrong sign mirrors the tomogram"
        )
    stage, names = sorted(a for a, _, _ in wrong), sorted(b for _, b, _ in wrong)
    crossed = all(abs(a - b) <= _ANGLE_TOLERANCE_DEG for a, b in zip(stage, names, strict=True))
    a, b, label = wrong[0]
    if crossed and len(wrong) > 1:
        raise DataUnfitError(
            f"names and angles are crossed: {label} is recorded at {a:.1f} deg, its name says "
            f"{b:.1f}, and so for {len(wrong)} images; correct the SubFramePath or TiltAngle lines of the "
            "mdoc, or import by pattern"
        )
    return (
        f"{len(wrong)} of {len(both)} movies have another tilt in their names than in TiltAngle ({label}: "
        f"{a:.1f} deg); TiltAngle, the stage's, is used"
    )


def in_order_of_acquisition(
    exposures: Sequence[Exposure], scheme: str | None = None
) -> tuple[list[Exposure], Evidence]:
    """Exposures as they were taken, and the evidence (`decide_order`)."""
    given = [e.order if e.order_is_given else None for e in exposures]
    numbers = [None if e.order_is_given else e.order for e in exposures]
    started = min((e.acquired_at for e in exposures if e.acquired_at is not None), default=None)
    named_first = min((e.named_at for e in exposures if e.named_at is not None), default=None)
    sources = [
        _source("order in the pattern", given),
        _source("DateTime", _turned_over([_seconds(e.acquired_at, started) for e in exposures], numbers)),
        _source("numbers in names", numbers),
        _source("times in names", [_seconds(e.named_at, named_first) for e in exposures]),
        _source("PriorRecordDose", [e.prior_dose_per_angstrom2 for e in exposures]),
    ]
    order, evidence = decide_order(
        [e.tilt_deg for e in exposures], sources, [e.label for e in exposures], scheme=scheme
    )
    return [exposures[i] for i in order], evidence


def _source(name: str, keys: Sequence[float | None]) -> OrderSource:
    return OrderSource(name, tuple(None if key is None else float(key) for key in keys))


def _turned_over(times: list[float | None], numbers: Sequence[float | None]) -> list[float | None]:
    """Times by a clock that does not say the date or the half of the day, in seconds, in the right order.

    By the numbers in names such times rise but for one fall of hours, after which a half or whole day is
    added. Other times are returned as they are.
    """
    order = sorted((n, i) for i, n in enumerate(numbers) if n is not None)
    if len(order) < max(3, len(times)) or len({n for n, _ in order}) < len(order) or None in times:
        return times
    in_order = [float(times[i] or 0.0) for _, i in order]
    falls = [k for k in range(1, len(in_order)) if in_order[k] < in_order[k - 1]]
    if len(falls) != 1:
        return times
    fall = in_order[falls[0] - 1] - in_order[falls[0]]
    span = next((hours * 3600.0 for hours in (12, 24) if 0.5 * hours * 3600.0 < fall <= hours * 3600.0), None)
    if span is None:
        return times
    later = {i for _, i in order[falls[0] :]}
    return [float(t or 0.0) + (span if i in later else 0.0) for i, t in enumerate(times)]


def _seconds(moment: datetime | None, since: datetime | None) -> float | None:
    return None if moment is None or since is None else (moment - since).total_seconds()


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
    """Numbers missing between those given: the tilt was recorded, and its movie is not there."""
    present = {exposure.order for exposure in exposures}
    return [order for order in _numbers(exposures) or () if order not in present]


def _numbers(exposures: Sequence[Exposure]) -> range | None:
    """Numbers of all exposures up to the last; None if the given orders do not count exposures.

    They begin at 0 or 1, or go on from one series to the next. Dates and times count nothing, nor do numbers
    that run against the order of acquisition, or in steps: targets that are visited in turn share a counter.
    """
    orders = [exposure.order for exposure in exposures if exposure.order is not None]
    n = len(exposures)
    if n == 0 or len(set(orders)) < n:
        return None
    if all(e.order is not None for e in exposures):
        steps = [b - a for a, b in pairwise(orders)]
        if any(step < 0 for step in steps) and not _is_given(exposures):
            return None
        if len(steps) > 2 and median(abs(step) for step in steps) > 1:
            return None
    first = min(orders)
    numbers = range(min(first, 1) if first <= n // 2 else first, max(orders) + 1)
    return numbers if len(numbers) <= 2 * n else None


def _is_given(exposures: Sequence[Exposure]) -> bool:
    return any(e.order_is_given for e in exposures)


def accumulated_doses(
    exposures: Sequence[Exposure], dose_per_tilt: float | None, initial_dose: float
) -> tuple[list[tuple[float, float]], Evidence]:
    """Dose before and after each exposure, e/A^2, and the evidence; exposures as they were taken.

    A dose the user gives counts alone, for every place in time (`places_in_time`). Else prior doses count
    where they are given and never fall short of what was exposed before; else doses are added up, that of an
    absent exposure as the mean of all.
    Raises DataUnfitError if an exposure has no dose at all.
    """
    sources = _dose_sources(exposures)
    places = places_in_time(exposures)
    if dose_per_tilt is not None:
        starts = [initial_dose + place * dose_per_tilt for place in places]
        user = Source("user", f"{dose_per_tilt:g} e/A^2 each")
        evidence = Evidence("dose", f"{dose_per_tilt:g} e/A^2 each", "user", (user, *sources))
        return [(start, start + dose_per_tilt) for start in starts], evidence
    exposures, running = _without_running_total(exposures)
    known, filled = _filled_doses(exposures)
    mean = sum(known) / max(1, len(known))
    added, total, before = [], 0.0, 0
    for place, dose in zip(places, known, strict=True):
        total += mean * max(0, place - before)  # exposures that are absent
        added.append(total)
        total += dose
        before = max(place, before) + 1
    by = "+".join(sorted({exposure.dose_by for exposure in exposures}))
    starts, note, prior_counts = _starts(exposures, added)
    used = f"{by} after PriorRecordDose" if prior_counts else by
    value = f"{starts[0]:g} to {starts[-1] + known[-1]:g} e/A^2"
    much = _much_dose_note(starts[-1] + known[-1])
    note = " ".join(part for part in (note, _dose_note(exposures), running, filled, much) if part)
    return [
        (initial_dose + start, initial_dose + start + dose) for start, dose in zip(starts, known, strict=True)
    ], Evidence("dose", value, used, tuple(sources), note)


def _without_running_total(exposures: Sequence[Exposure]) -> tuple[list[Exposure], str]:
    """Exposures whose doses, if they are a running total over the series, are those of single images."""
    doses = [exposure.dose_per_angstrom2 or 0.0 for exposure in exposures]
    n = len(doses)
    each = doses[0] if doses else 0.0
    grows = all(abs(dose - (i + 1) * each) <= _EQUAL_DOSES * (i + 1) * each for i, dose in enumerate(doses))
    prior = [exposure.prior_dose_per_angstrom2 for exposure in exposures]
    # Doses that are those of single images add up to what was there before the last.
    adds_up = prior[-1] is not None and prior[-1] >= 0.9 * sum(doses[:-1]) if n else False
    if n < _FEWEST_OF_A_TOTAL or each <= 0 or not grows or adds_up:
        return list(exposures), ""
    note = (
        f"{exposures[0].dose_by} grows from {doses[0]:g} to {doses[-1]:g} e/A^2 in equal steps, as a running "
        f"total does; {each:g} e/A^2 is taken for each image. Give dose_per_tilt_per_angstrom2 if it is not."
    )
    return [replace(exposure, dose_per_angstrom2=each) for exposure in exposures], note


def _much_dose_note(total: float) -> str:
    if total <= _MUCH_DOSE:
        return ""
    return (
        f"The doses add up to {total:.0f} e/A^2, while series usually have 60 to 200; if they are electrons "
        "per pixel, give dose_per_tilt_per_angstrom2."
    )


def _filled_doses(exposures: Sequence[Exposure]) -> tuple[list[float], str]:
    """Dose of every exposure, and a note on those that took the dose of the others.

    An exposure without a dose takes that of the others where more than half are known and these are equal;
    else DataUnfitError is raised: a dose that grows with the tilt cannot be guessed.
    """
    doses = [_plausible_dose(exposure) for exposure in exposures]
    known = [dose for dose in doses if dose is not None]
    lacking = [exposure for exposure, dose in zip(exposures, doses, strict=True) if dose is None]
    if not lacking:
        return known, ""
    got = lacking[0].dose_per_angstrom2 or 0
    are_equal = len(known) > len(exposures) / 2 and max(known) - min(known) <= _EQUAL_DOSES * min(known)
    if not are_equal:
        raise DataUnfitError(
            f"no dose is given for the tilt at {lacking[0].tilt_deg:.1f} deg; "
            "give dose_per_tilt_per_angstrom2",
            got_per_angstrom2=got,
            expected_per_angstrom2=f"more than 0, at most {_MOST_DOSE_PER_TILT:g}",
        )
    usual = median(known)
    note = (
        f"a dose of {got:g} e/A^2 is given for {lacking[0].label}"
        + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else "")
        + f", which cannot be; the dose of the others, {usual:g} e/A^2, is used."
    )
    return [usual if dose is None else dose for dose in doses], note


def _plausible_dose(exposure: Exposure) -> float | None:
    """Dose of an exposure, None if it is missing or impossible."""
    dose = exposure.dose_per_angstrom2
    return dose if dose is not None and 0 < dose <= _MOST_DOSE_PER_TILT else None


def _starts(exposures: Sequence[Exposure], added: Sequence[float]) -> tuple[list[float], str, bool]:
    """Doses before each exposure: the prior ones where they can be true, else those added up."""
    prior = [e.prior_dose_per_angstrom2 for e in exposures]
    with_prior = [(p, a, i) for i, (p, a) in enumerate(zip(prior, added, strict=True)) if p is not None]
    if len({p for p, _, _ in with_prior}) < 2:
        return list(added), "", False
    # One per cent and 0.05 e/A^2: rounding of the doses that were added up.
    short = [(p, a, i) for p, a, i in with_prior if p < 0.99 * a - 0.05]
    if short:
        p, a, i = short[0]
        return (
            list(added),
            f"PriorRecordDose gives {p:g} e/A^2 before {exposures[i].label}, while the exposures before it "
            f"add up to {a:g}; the sum is used, since a dose cannot be less than what was exposed.",
            False,
        )
    starts, extra = [], 0.0
    for before, a in zip(prior, added, strict=True):
        extra = before - a if before is not None else extra  # one without follows its neighbour
        starts.append(a + extra)
    last_p, last_a, last = with_prior[-1]
    note = ""
    if last_p > _MORE_PRIOR_DOSE * last_a + _MORE_PRIOR_PER_ANGSTROM2:
        note = (
            f"PriorRecordDose gives {last_p:g} e/A^2 before {exposures[last].label}, the exposures before it "
            f"add up to {last_a:g} only; the prior dose is used, since it counts focus and other images too."
        )
    return starts, note, True


def _dose_sources(exposures: Sequence[Exposure]) -> list[Source]:
    sources = []
    by = sorted({e.dose_by for e in exposures if e.dose_by})
    for name in by:
        doses = [e.dose_per_angstrom2 for e in exposures if e.dose_by == name and e.dose_per_angstrom2]
        sources.append(Source(name, _range(doses, "e/A^2 each")))
    others = sorted({e.other_dose_by for e in exposures if e.other_dose_by})
    for name in others:
        doses = [e.other_dose_per_angstrom2 or 0.0 for e in exposures if e.other_dose_by == name]
        sources.append(Source(name, _range(doses, "e/A^2 each"), "an earlier source gives it"))
    prior = [e.prior_dose_per_angstrom2 for e in exposures if e.prior_dose_per_angstrom2 is not None]
    if prior:
        why_not = "" if len(set(prior)) > 1 else "the same for all images"
        sources.append(Source("PriorRecordDose", _range(prior, "e/A^2"), why_not))
    return sources


def _dose_note(exposures: Sequence[Exposure]) -> str:
    pairs = [
        (e.dose_per_angstrom2, e.other_dose_per_angstrom2, e)
        for e in exposures
        if e.dose_per_angstrom2 and e.other_dose_per_angstrom2
    ]
    if not pairs:
        return ""
    ratio = median(b / a for a, b, _ in pairs)
    if _SAME_DOSE[0] < ratio < _SAME_DOSE[1]:
        return ""
    a, b, e = pairs[0]
    return (
        f"{e.dose_by} gives {a:g} e/A^2 and {e.other_dose_by} {b:g}; {e.dose_by} is used, since it is the "
        "specimen's dose as the program writes it."
    )


def _range(values: Sequence[float], unit: str = "deg") -> str:
    if not values:
        return "none"
    low, high = min(values), max(values)
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"
