"""CTFs another program found, in our conventions, and which tilt of a series each belongs to.

A value is given to the tilt it names, by section, by place in order of tilt, by angle or by file name. Where
that is not certain for every value the file is refused: nothing is shifted to make it fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.geometry.depth import defocus_change, depth_at_centre
from cryoloom.model import Ctf, DefocusReference, Tilt, TiltSeries
from cryoloom.model.limits import require

__all__ = [
    "ForeignCtf",
    "ForeignCtfView",
    "believable_ctfs",
    "ctf_of",
    "ctf_of_image",
    "ctfs_by_tilt",
    "ctfs_of_sections",
    "tilts_of_sections",
]


_LEAST_DEFOCUS_ANGSTROM = 200.0
"""No rings are seen below; programs write 0 where they find nothing."""
_FAR_DEFOCUS_ANGSTROM = 10000.0
_OTHER_UNIT = 5.0
"""Chosen: distance of a tilt's defocus from the series', and ratio to the nominal one, that no series has;
units differ by 10 and more."""
_WITHIN_STEPS, _MOST_OFF_DEG, _LEAST_STEP_DEG = 0.45, 1.4, 0.2
"""Chosen: an angle belongs to the tilt that is nearer than half a step, and not beyond 1.4 degrees, which is
half of a usual step of 3; smaller steps than 0.2 are one angle twice."""


@dataclass(frozen=True, slots=True)
class ForeignCtfView:
    """A CTF and its tilt, by the first given of section, rank, name and angle."""

    ctf: Ctf
    section: int | None = None
    """Section of the stack, from 0."""
    tilt_rank: int | None = None
    """Place in the order of ascending tilt, from 0."""
    image_name: str = ""
    tilt_deg: float | None = None
    dose_start_per_angstrom2: float | None = None
    tilt_range_deg: tuple[float, float] | None = None
    """Angles between which the section's must lie; checked where given."""


@dataclass(frozen=True, slots=True)
class ForeignCtf:
    """CTFs of a file, in its order."""

    source: Path
    views: tuple[ForeignCtfView, ...]
    n_images: int | None = None
    """Images the program was given, where every one has a value."""
    handedness: int | None = None
    """+1 or -1 where the file was made for one (conventions.md, "Defocus")."""
    refers_to: DefocusReference = "specimen"
    """What the program's defocus belongs to, see `Ctf`: images alone show that of the specimen; of programs
    that keep poses beside it, it is that of their origin."""
    notes: tuple[str, ...] = ()
    """Corrections of the file, and what cannot be kept."""


def ctf_of(
    defocus_1_angstrom: float,
    defocus_2_angstrom: float,
    angle_deg: float,
    *,
    phase_shift_deg: float = 0.0,
    fit_resolution_angstrom: float | None = None,
    score: float | None = None,
    predicted: bool = False,
    where: str = "",
) -> Ctf:
    """CTF with the larger defocus first; ``angle_deg`` is that of defocus 1.

    A resolution that is not a positive number counts as not found. where : the row of a file, for messages.
    Raises DataUnfitError for a value that is not finite or impossible.
    """
    for quantity, value in (
        ("defocus", defocus_1_angstrom),
        ("defocus", defocus_2_angstrom),
        ("astigmatism angle", angle_deg),
        ("phase shift", phase_shift_deg),
    ):
        require(quantity, value, where)
    if defocus_1_angstrom < defocus_2_angstrom:
        defocus_1_angstrom, defocus_2_angstrom = defocus_2_angstrom, defocus_1_angstrom
        angle_deg += 90.0
    found = fit_resolution_angstrom is not None and 0 < fit_resolution_angstrom < np.inf
    return Ctf(
        defocus_1_angstrom,
        defocus_2_angstrom,
        (angle_deg + 90.0) % 180.0 - 90.0,
        phase_shift_deg,
        fit_resolution_angstrom if found else None,
        score,
        predicted,
    )


def ctfs_by_tilt(found: ForeignCtf, series: TiltSeries) -> dict[int, Ctf]:
    """CTFs of the file by acquisition index of their tilts."""
    tilts = [_tilt_of(view, found, series) for view in found.views]
    repeated = [index for index, n in Counter(t.acquisition_index for t in tilts).items() if n > 1]
    if repeated:
        raise DataUnfitError(
            f"{found.source.name} gives more than one CTF to the tilts {sorted(repeated)} of "
            f"{series.name}; expected one each. Give the file made from this series"
        )
    if found.n_images is not None:
        expected = len(tilts_of_sections(series))
        if found.n_images != expected:
            raise DataUnfitError(
                f"{found.source.name} is of {found.n_images} images, the stack of {series.name} has "
                f"{expected}; "
                "give the file made from this stack"
            )
    _check_angles(found, tilts, series)
    return {tilt.acquisition_index: view.ctf for tilt, view in zip(tilts, found.views, strict=True)}


def believable_ctfs(
    ctfs: Mapping[int, Ctf], series: TiltSeries, name: str
) -> tuple[dict[int, Ctf], list[str]]:
    """CTFs by acquisition index without those that a program did not find, and notes on odd ones.

    name : of the file. Raises DataUnfitError if no defocus can be one in angstrom.
    """
    defocus = {index: ctf.defocus_angstrom for index, ctf in ctfs.items()}
    found = {index for index, value in defocus.items() if abs(value) >= _LEAST_DEFOCUS_ANGSTROM}
    if len(found) <= len(defocus) / 2:
        low, high = min(defocus.values(), default=0.0), max(defocus.values(), default=0.0)
        raise DataUnfitError(
            f"the defocus in {name} is {low:g} to {high:g} A, expected {_LEAST_DEFOCUS_ANGSTROM:g} A or "
            "more; it may be in micrometre or nanometre, or was not found"
        )
    notes = []
    if lost := sorted(set(defocus) - found):
        notes.append(
            f"no defocus was found for the tilts {lost} (below {_LEAST_DEFOCUS_ANGSTROM:g} A); left out"
        )
    typical = float(np.median([defocus[index] for index in found]))
    apart = max(_FAR_DEFOCUS_ANGSTROM, 0.5 * abs(typical))
    if far := sorted(index for index in found if abs(defocus[index] - typical) > apart):
        notes.append(
            f"the defocus of the tilts {far} is far from that of the others ({defocus[far[0]]:.0f} and "
            f"{typical:.0f} A); reject their CTF if it is wrong"
        )
    if typical < 0:
        notes.append(f"the defocus is {typical:.0f} A, overfocus; a file with another sign convention?")
    nominal = [t.nominal_defocus_angstrom for t in series.tilts if t.nominal_defocus_angstrom]
    aimed = float(np.median(nominal)) if nominal else None
    if aimed and not 1 / _OTHER_UNIT < typical / aimed < _OTHER_UNIT:
        notes.append(
            f"the defocus is {typical:.0f} A, that set at the microscope {aimed:.0f} A; the file's is used. "
            "Is it in another unit?"
        )
    return {index: ctf for index, ctf in ctfs.items() if index in found}, notes


def tilts_of_sections(series: TiltSeries) -> dict[int, Tilt]:
    """Tilt of each section of the stack."""
    return {tilt.section: tilt for tilt in series.tilts if tilt.section is not None}


def ctf_of_image(tilt: Tilt, series: TiltSeries) -> Ctf | None:
    """CTF as the image alone shows it: of the specimen's middle at the image's centre.

    That is what files of CTFFIND, Gctf, AreTomo and IMOD hold (ctfphaseflip counts from the raw image's
    centre). A defocus of the poses' origin is changed by the depth of the middle there, which passes through
    the origin where no slab was measured; without a pose or a handedness it stays.
    """
    ctf, pose, hand = tilt.ctf, tilt.pose, series.handedness.applied
    if ctf is None or pose is None or hand is None or ctf.refers_to == "specimen":
        return ctf
    plane = (0.0, 0.0, 0.0) if series.slab is None else series.slab.plane
    depth = depth_at_centre(pose.matrix, pose.shift_xy_angstrom, pose.magnification, plane)
    change = float(defocus_change(depth, hand))
    return replace(
        ctf,
        defocus_u_angstrom=ctf.defocus_u_angstrom + change,
        defocus_v_angstrom=ctf.defocus_v_angstrom + change,
        refers_to="specimen",
    )


def ctfs_of_sections(series: TiltSeries) -> list[Ctf]:
    """CTF of every section as its image shows it (`ctf_of_image`), for files that must have one each.

    A section without one (an excluded tilt) gets its neighbour's in tilt, as predicted and with score 0.
    """
    by_section = tilts_of_sections(series)
    known = [tilt for tilt in by_section.values() if tilt.ctf is not None]
    if not known:
        raise DataUnfitError(f"{series.name} has no CTF; run estimate_ctf or import_ctf first")
    found = []
    for section in sorted(by_section):
        tilt = by_section[section]
        nearest = min(known, key=lambda other: abs(other.nominal_tilt_deg - tilt.nominal_tilt_deg))
        borrowed = ctf_of_image(nearest if tilt.ctf is None else tilt, series)
        if borrowed is not None:
            found.append(
                borrowed
                if tilt.ctf is not None
                else replace(borrowed, predicted=True, score=0.0, fit_resolution_angstrom=None)
            )
    return found


def _tilt_of(view: ForeignCtfView, found: ForeignCtf, series: TiltSeries) -> Tilt:
    if view.section is not None or view.tilt_rank is not None:
        by_section = tilts_of_sections(series)
        if view.section is not None:
            if view.section in by_section:
                return by_section[view.section]
            raise DataUnfitError(
                f"{found.source.name} has a value for section {view.section + 1}, the stack of "
                f"{series.name} has "
                f"{len(by_section)}; give the file made from this stack"
            )
        in_order = sorted(by_section.values(), key=lambda t: (t.nominal_tilt_deg, t.acquisition_index))
        if view.tilt_rank is not None and view.tilt_rank < len(in_order):
            return in_order[view.tilt_rank]
        raise DataUnfitError(
            f"{found.source.name} has more values than {series.name} has images ({len(in_order)}); "
            "give the file "
            "made from this series"
        )
    return _tilt_by_name(view, found, series) if view.image_name else _tilt_by_angle(view, found, series)


def _tilt_by_name(view: ForeignCtfView, found: ForeignCtf, series: TiltSeries) -> Tilt:
    stem = Path(view.image_name.replace("\\", "/")).stem
    named = [(tilt, tilt.movie.path.stem) for tilt in series.tilts if tilt.movie is not None]
    same = [tilt for tilt, name in named if name == stem]
    # Programs add to a movie's name (_sum, _aligned, _PS): the longest name it begins with.
    longest = max((len(name) for _, name in named if stem.startswith(name)), default=0)
    fit = same or [tilt for tilt, name in named if stem.startswith(name) and len(name) == longest]
    if len(fit) == 1:
        return fit[0]
    raise DataUnfitError(
        f"{found.source.name} names the image {view.image_name!r}, which fits {len(fit)} movies of "
        f"{series.name}; "
        "expected one. Names must be those of the movies, or N@STACK"
    )


def _tilt_by_angle(view: ForeignCtfView, found: ForeignCtf, series: TiltSeries) -> Tilt:
    if view.tilt_deg is None:
        raise DataUnfitError(f"{found.source.name} does not show which image a value is of")
    tolerance = _tolerance_deg(series)
    near = [tilt for tilt in series.tilts if abs(tilt.nominal_tilt_deg - view.tilt_deg) <= tolerance]
    if len(near) > 1 and view.dose_start_per_angstrom2 is not None:
        dose = view.dose_start_per_angstrom2
        near = sorted(near, key=lambda tilt: abs(tilt.dose_start_per_angstrom2 - dose))[:1]
    if len(near) == 1:
        return near[0]
    raise DataUnfitError(
        f"{found.source.name} has a value at {view.tilt_deg:.2f} deg; {series.name} has {len(near)} "
        f"tilts within {tolerance:.2f} deg of it, expected one. Give the file made from this series"
    )


def _tolerance_deg(series: TiltSeries) -> float:
    """Less than half the distance to a neighbour, at most 1.4 degrees."""
    steps = np.diff(np.unique(np.round([tilt.nominal_tilt_deg for tilt in series.tilts], 2)))
    steps = steps[steps > _LEAST_STEP_DEG]
    return min(_WITHIN_STEPS * float(steps.min()), _MOST_OFF_DEG) if len(steps) else _MOST_OFF_DEG


def _check_angles(found: ForeignCtf, tilts: Sequence[Tilt], series: TiltSeries) -> None:
    """Refuse a file whose angles contradict its sections: it was made from another stack."""
    tolerance = _tolerance_deg(series)
    best = dict(zip((t.acquisition_index for t in series.tilts), series.tilt_deg, strict=True))
    wrong = []
    for tilt, view in zip(tilts, found.views, strict=True):
        if view.tilt_range_deg is None:
            continue
        low, high = view.tilt_range_deg
        # A program may have been given nominal angles, or refined ones with the specimen's own tilt in them.
        known = (tilt.nominal_tilt_deg, float(best[tilt.acquisition_index]))
        if not any(low - tolerance <= angle <= high + tolerance for angle in known):
            wrong.append((tilt.nominal_tilt_deg, low, high))
    if wrong:
        angle, low, high = wrong[0]
        raise DataUnfitError(
            f"{found.source.name} gives other tilt angles than {series.name} has at {len(wrong)} "
            "sections: first "
            f"{low:.2f} to {high:.2f} deg where it has {angle:.2f}. Give the file made from this stack; if "
            "it has the angles of an alignment, import that first"
        )
