"""Which image of an mdoc is which section of a stack, and how each section was tilted.

Identity, never a line number: the mdoc's ZValue is the section, a line of an angle file or an entry of the
extended header is that of its section. Where angle file and ZValue disagree, one of them was sorted and the
other was not: the extended header decides, else the images (less light passes the more they are tilted),
else the series is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.exposures import Exposure, radians_note, require_signs
from cryoloom.geometry.slab_path import slab_path
from cryoloom.model.evidence import Evidence, Source

__all__ = ["AngleSource", "match_sections", "note_on_brightness", "note_on_other_angles"]

Array = NDArray[np.float64]

_SAME_DEG = 0.5
"""Chosen: half the smallest usual step of tilts."""
_REFINED_DEG = 3.0
"""Alignment refines angles by so much at most; .tlt files hold such angles."""
_CLEARLY_BETTER = 3.0
"""Ratio of the sums of squares that decides: shuffled angles leave nearly all of the variance."""
_FAR_BETTER, _EXPLAINED = 4.0, 0.3
"""Ratio of the sums of squares, and part of the variance that may remain, without a second source."""
_FEWEST_FOR_BRIGHTNESS, _LEAST_VARIED = 9, 0.02
"""Sections, and standard deviation of the logarithm of their brightness."""
_MOST_PRETILT_DEG = 20
"""Chosen: more than a lamella has; usual ones have 8 to 15 degrees."""
_LEAST_RANGE_DEG = 0.05
"""Chosen: angles that differ by less are one number that was repeated."""
_WITHIN_STEPS, _LEAST_WITHIN_DEG = 0.45, 0.3
"""Chosen: refined angles stay nearer to their own than to a neighbour's; rounding alone makes 0.3 degrees."""
_OFF_BY_A_STEP = 0.1
"""Chosen: an offset within this part of a step of one step is a list shifted by one image."""


@dataclass(frozen=True, slots=True)
class AngleSource:
    """Tilts of all sections, in their order."""

    name: str
    tilt_deg: tuple[float, ...]
    is_given: bool = False
    """True if the user named the file: it is then used even if other sources differ."""


def match_sections(
    stack: str,
    n_sections: int,
    angles: AngleSource | None,
    header: AngleSource | None,
    mdoc: tuple[str, Sequence[Exposure]] | None,
    brightness: Callable[[], Array],
) -> tuple[Array, list[Exposure | None], list[Exposure], Evidence]:
    """Tilt of each section, the mdoc's image of it, images the stack does not hold, and the evidence.

    brightness : gives the mean of each section, if only the images can decide.
    """
    given = [source for source in (angles, header) if source is not None and _says_something(source)]
    sources = tuple(
        Source(s.name, _described(s.tilt_deg), "" if _says_something(s) else "the same for all sections")
        for s in (angles, header)
        if s is not None
    )
    if mdoc is None or not mdoc[1]:
        return _without_mdoc(stack, n_sections, given, sources)
    name, exposures = mdoc
    sources += (Source(name, _described([e.tilt_deg for e in exposures])),)
    by_section = _by_zvalue(exposures, n_sections)
    if not given:
        if by_section is None:
            raise DataUnfitError(
                f"{name} is for {len(exposures)} images and {stack} has {n_sections} sections; give angles, "
                "or an mdoc that fits",
                got=len(exposures),
                expected=n_sections,
            )
        return _result([e.tilt_deg for e in by_section], by_section, exposures, name, sources, "")
    first = given[0]
    note = _disagreement(given)
    if by_section is not None and _agree(first.tilt_deg, [e.tilt_deg for e in by_section]):
        note = note or _offset_note(first, name, [e.tilt_deg for e in by_section])
        return _result(first.tilt_deg, by_section, exposures, first.name, sources, note)
    by_angle = _by_angle(first, exposures)
    if by_angle is None:
        i, tilt = _first_difference(first, by_section or exposures)
        raise DataUnfitError(
            f"the angles of {first.name} and {name} do not fit each other: section {i} is recorded at "
            f"{first.tilt_deg[i]:.1f} and {tilt:.1f} deg; give files of one series",
            got=len(exposures),
            expected=n_sections,
        )
    if by_section is None or first.is_given:
        note = f"{name} was matched to the sections of {stack} by angle, since its ZValues do not fit them"
        return _result(first.tilt_deg, by_angle, exposures, first.name, sources, note)
    if header is not None and header is not first and _says_something(header):
        sorted_file = _agree(header.tilt_deg, first.tilt_deg)
        how = "as the extended header does"
    else:
        sorted_file = _brightness_fits_file(
            first, [e.tilt_deg for e in by_section], brightness(), stack, name
        )
        how = "as the brightness of the images shows"
    if sorted_file:
        note = (
            f"{first.name} and {name} give different sections; {first.name} is used, {how}, and the images "
            f"of {name} are found by their angles"
        )
        return _result(first.tilt_deg, by_angle, exposures, first.name, sources, note)
    note = f"{first.name} and {name} give different sections; ZValue of {name} is used, {how}"
    return _result([e.tilt_deg for e in by_section], by_section, exposures, name, sources, note)


def _without_mdoc(
    stack: str, n_sections: int, given: Sequence[AngleSource], sources: tuple[Source, ...]
) -> tuple[Array, list[Exposure | None], list[Exposure], Evidence]:
    if not given:
        stem = stack.rsplit(".", 1)[0]
        constant = "; those there are the same for all sections" if sources else ""
        raise DataUnfitError(
            f"no tilt angles are given for {stack}; expected {stem}.rawtlt, .tlt or an mdoc beside "
            f"it{constant}"
        )
    nothing: list[Exposure | None] = [None] * n_sections
    return _result(given[0].tilt_deg, nothing, (), given[0].name, sources, _disagreement(given))


def _result(
    tilt_deg: Sequence[float],
    matched: Sequence[Exposure | None],
    exposures: Sequence[Exposure],
    used: str,
    sources: tuple[Source, ...],
    note: str,
) -> tuple[Array, list[Exposure | None], list[Exposure], Evidence]:
    require_signs([float(tilt) for tilt in tilt_deg])
    placed = [
        None if one is None else replace(one, section=i, tilt_deg=float(tilt))
        for i, (one, tilt) in enumerate(zip(matched, tilt_deg, strict=True))
    ]
    kept = {id(one) for one in matched}
    removed = [replace(one, section=None) for one in exposures if id(one) not in kept]
    if removed:
        note = (
            note + f"; {len(removed)} images of the mdoc are not in the stack; they were exposed all the same"
        ).lstrip("; ")
    note = "; ".join(part for part in (note, radians_note(tilt_deg)) if part)
    evidence = Evidence("tilt angles and sections", _described(tilt_deg), used, sources, note)
    return np.array(tilt_deg, dtype=float), placed, removed, evidence


def _by_zvalue(exposures: Sequence[Exposure], n_sections: int) -> list[Exposure] | None:
    """Images by section; None if the ZValues are not those of the stack, counted from 0 or 1."""
    numbers = {e.section: e for e in exposures if e.section is not None}
    if len(numbers) != len(exposures):
        return None
    for first in (0, 1):
        if set(numbers) == set(range(first, first + n_sections)):
            return [numbers[first + i] for i in range(n_sections)]
    return None


def _by_angle(source: AngleSource, exposures: Sequence[Exposure]) -> list[Exposure | None] | None:
    """The one image of each section's angle; None if an angle has none, or two that differ in all else."""
    matched: list[Exposure | None] = []
    for tilt in source.tilt_deg:
        near = [e for e in exposures if abs(e.tilt_deg - tilt) <= _SAME_DEG]
        if len(near) != 1 or any(near[0] is other for other in matched):
            return None
        matched.append(near[0])
    return matched


def _says_something(source: AngleSource) -> bool:
    return len(source.tilt_deg) < 2 or max(source.tilt_deg) - min(source.tilt_deg) > _LEAST_RANGE_DEG


def _agree(a_deg: Sequence[float], b_deg: Sequence[float]) -> bool:
    """Whether angles are the same but for one offset and for what alignment refines."""
    if len(a_deg) != len(b_deg):
        return False
    difference = np.subtract(a_deg, b_deg)
    step = np.diff(np.sort(b_deg))
    within = (
        min(_REFINED_DEG, _WITHIN_STEPS * float(np.median(step[step > _LEAST_RANGE_DEG])))
        if (step > _LEAST_RANGE_DEG).any()
        else 1.0
    )
    return bool(np.abs(difference - np.median(difference)).max() <= max(within, _LEAST_WITHIN_DEG))


def note_on_other_angles(used: AngleSource, other: AngleSource) -> str:
    """Note on a second file of angles beside a stack that contradicts the first."""
    if _agree(used.tilt_deg, other.tilt_deg):
        return ""
    if len(used.tilt_deg) != len(other.tilt_deg):
        return f"{other.name} is for {len(other.tilt_deg)} images; {used.name} is used"
    i = int(np.argmax(np.abs(np.subtract(used.tilt_deg, other.tilt_deg))))
    return (
        f"{used.name} and {other.name} give different angles (section {i}: {used.tilt_deg[i]:.1f} and "
        f"{other.tilt_deg[i]:.1f} deg); {used.name}, the stage's, is used. If it was sorted or has the wrong "
        "sign, give angles"
    )


def _disagreement(given: Sequence[AngleSource]) -> str:
    if len(given) < 2 or _agree(given[0].tilt_deg, given[1].tilt_deg):
        return ""
    return (
        f"{given[0].name} and {given[1].name} give different angles (section 0: "
        f"{given[0].tilt_deg[0]:.1f} and {given[1].tilt_deg[0]:.1f} deg); "
        f"{given[0].name} is used, since it was made for this stack later"
    )


def _offset_note(first: AngleSource, mdoc: str, mdoc_deg: Sequence[float]) -> str:
    """Note on angles that all differ by one offset that alignment does not refine."""
    offset = float(np.median(np.subtract(first.tilt_deg, mdoc_deg)))
    if abs(offset) <= _REFINED_DEG:
        return ""
    step = float(np.median(np.abs(np.diff(np.sort(mdoc_deg)))))
    is_a_step = abs(abs(offset) - step) <= _OFF_BY_A_STEP * step
    why = "is the list shifted by one image, or is it a tilt offset?" if is_a_step else "a tilt offset?"
    return (
        f"the angles of {first.name} are {offset:+.1f} deg off those of {mdoc} for all sections ({why}); "
        f"{first.name} is used"
    )


def _brightness_fits_file(
    file: AngleSource, mdoc_deg: Sequence[float], brightness: Array, stack: str, mdoc: str
) -> bool:
    """Whether the light that passes fits the file's angles better than the mdoc's."""
    misfits = [_transmission_misfit(np.array(tilts), brightness) for tilts in (file.tilt_deg, mdoc_deg)]
    low, high = min(misfits), max(misfits)
    if not np.isfinite(high) or high <= 0 or high < _CLEARLY_BETTER * low:
        raise DataUnfitError(
            f"the angles of {file.name} and {mdoc} are in different orders, and neither the header of "
            f"{stack} nor its images show which is right; give angles"
        )
    return misfits[0] < misfits[1]


def note_on_brightness(tilt_deg: Array, acquisition_index: NDArray[np.int64], brightness: Array) -> str:
    """Note if the transmitted intensity fits the same angles in another order far better.

    Each ``(section,)``. The other orders are those in which stacks are written: ascending, and as acquired.
    """
    log = np.log(np.maximum(brightness, 1e-3 * max(float(brightness.max()), 1e-9)))
    varied = float(((log - log.mean()) ** 2).sum())
    if len(tilt_deg) < _FEWEST_FOR_BRIGHTNESS or log.std() < _LEAST_VARIED:
        return ""  # too few, or normalised images
    own = _transmission_misfit(tilt_deg, brightness)
    others = {"ascending": np.sort(tilt_deg), "as acquired": tilt_deg[np.argsort(acquisition_index)]}
    misfits = {name: _transmission_misfit(angles, brightness) for name, angles in others.items()}
    best = min(misfits, key=lambda name: misfits[name])
    if misfits[best] * _FAR_BETTER > own or misfits[best] > _EXPLAINED * varied:
        return ""
    return (
        f"the brightness of the images does not fit their angles, but fits them {best}: was the stack sorted "
        "without its angles, or the other way round? Check, and give angles"
    )


def _transmission_misfit(tilt_deg: Array, brightness: Array) -> float:
    """Sum of squares that a plane specimen's transmission, ``ln I = a - b / cos(tilt - pretilt)``, leaves."""
    log = np.log(np.maximum(brightness, 1e-3 * max(float(brightness.max()), 1e-9)))
    total = float(((log - log.mean()) ** 2).sum())
    best = total
    for pretilt in range(-_MOST_PRETILT_DEG, _MOST_PRETILT_DEG + 1, 2):
        path = slab_path(np.deg2rad(np.clip(tilt_deg - pretilt, -80, 80)))
        design = np.stack([np.ones_like(path), -path], axis=1)
        found = np.linalg.lstsq(design, log, rcond=None)[0]
        if found[1] > 0:
            best = min(best, float(((design @ found - log) ** 2).sum()))
    return best


def _first_difference(source: AngleSource, exposures: Sequence[Exposure]) -> tuple[int, float]:
    for i, (tilt, e) in enumerate(zip(source.tilt_deg, exposures, strict=False)):
        if abs(tilt - e.tilt_deg) > _SAME_DEG:
            return i, e.tilt_deg
    return 0, exposures[0].tilt_deg


def _described(tilt_deg: Sequence[float]) -> str:
    shown = ", ".join(f"{tilt:.1f}" for tilt in tilt_deg[:3])
    return f"{len(tilt_deg)} angles: {shown}" + (" ..." if len(tilt_deg) > 3 else "")
