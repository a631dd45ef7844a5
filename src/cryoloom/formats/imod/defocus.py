"""IMOD's ``.defocus`` files, versions 1 to 3, as ctfplotter writes and ctfphaseflip reads them.

Views are sections of the raw stack from 1; defocus is in nanometre. From version 3 on the first line is
``FLAGS 0 0. 0. 0. 3``, FLAGS the sum of 1 (astigmatism: defocus 1, defocus 2 and the angle of defocus 1 from
x), 2 (that angle in radian), 4 (phase shift), 8 (in radian), 16 (angles as in the ``.tlt`` although the
handedness is inverted) and 32 (cut-on frequency of the phase). Version 2 ends its first line with a 2;
version 1 does not, and ctfplotter then counted views from 0 instead of 1.

A line of several views applies to the middle one. IMOD interpolates the others, and so do
we; they count as predicted. IMOD's handedness, not inverted, is our +1: the right side is more underfocused
at positive tilt.
With ``-invert`` ctfplotter writes its angles with the opposite sign, unless 16 is set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import (
    ForeignCtf,
    ForeignCtfView,
    ctf_of,
    ctf_of_image,
    tilts_of_sections,
)
from cryoloom.model import Ctf, TiltSeries

__all__ = ["DefocusEntry", "DefocusFile", "read_defocus_file", "read_imod_defocus", "write_imod_defocus"]

_ASTIGMATISM, _ANGLE_IN_RAD, _PHASE, _PHASE_IN_RAD, _INVERTED, _CUT_ON = 1, 2, 4, 8, 16, 32
"""Flags of the first line, from ctfphaseflip's manual."""
_ANGLE_TOLERANCE_DEG = 0.6
"""Chosen: ranges are written to a tenth or a whole degree."""


@dataclass(frozen=True, slots=True)
class DefocusEntry:
    """A line: views as numbered in the file, angles as written."""

    first_view: int
    last_view: int
    low_tilt_deg: float
    high_tilt_deg: float
    ctf: Ctf
    cut_on_per_nm: float | None = None


@dataclass(frozen=True, slots=True)
class DefocusFile:
    """A ``.defocus`` file as it is."""

    version: int
    flags: int
    entries: tuple[DefocusEntry, ...]


def read_defocus_file(path: Path) -> DefocusFile:
    """Read a file of any version."""
    try:
        rows = [
            [float(word) for word in line.split()]
            for line in path.read_text(encoding="latin-1").splitlines()
            if line.strip()
        ]
        first = rows[0]
        version = int(first[5]) if len(first) == 6 else 1
        flags = int(first[0]) if version > 2 else 0
        entries = tuple(
            _entry(row, flags, is_first=i == 0) for i, row in enumerate(rows[1:] if version > 2 else rows)
        )
    except (OSError, ValueError, IndexError) as error:
        raise DataUnfitError(
            f"{path} is not a .defocus file of IMOD: expected first and last view, lowest and highest "
            "angle and "
            f"defocus in nm a line, with a line of flags before them from version 3 on ({error})"
        ) from error
    if not entries:
        raise DataUnfitError(f"{path} holds no defocus; run ctfplotter again")
    return DefocusFile(version, flags, entries)


def _entry(row: list[float], flags: int, *, is_first: bool) -> DefocusEntry:
    names = ["defocus"]
    if flags & _ASTIGMATISM:
        names += ["defocus_2", "angle"]
    if flags & _PHASE:
        names.append("phase")
    if flags & _CUT_ON:
        names.append("cut_on")
    expected = 4 + len(names)
    if len(row) != expected and not (flags == 0 and is_first and len(row) == 6):
        raise ValueError(f"a line has {len(row)} numbers, flags {flags} ask for {expected}")
    values = dict(zip(names, row[4:], strict=False))
    angle = values.get("angle", 0.0)
    phase = values.get("phase", 0.0)
    first_nm = values["defocus"]
    ctf = ctf_of(
        10.0 * first_nm,
        # A second defocus of 0 means that astigmatism was not found for this line.
        10.0 * (values.get("defocus_2") or first_nm),
        math.degrees(angle) if flags & _ANGLE_IN_RAD else angle,
        # The sign is not used by IMOD: small negative values are a fit's noise.
        phase_shift_deg=abs(math.degrees(phase) if flags & _PHASE_IN_RAD else phase),
        where=f"the line of views {int(row[0])} to {int(row[1])} of the defocus file",
    )
    return DefocusEntry(int(row[0]), int(row[1]), row[2], row[3], ctf, values.get("cut_on") or None)


def read_imod_defocus(path: Path, series: TiltSeries) -> ForeignCtf:
    """CTF of every section of the series' stack."""
    file = read_defocus_file(path)
    by_section = tilts_of_sections(series)
    best = dict(zip((t.acquisition_index for t in series.tilts), series.tilt_deg, strict=True))
    angles = [
        np.array([tilt.nominal_tilt_deg for _, tilt in sorted(by_section.items())]),
        np.array([best[tilt.acquisition_index] for _, tilt in sorted(by_section.items())]),
    ]
    n_sections = len(by_section)
    last = max(entry.last_view for entry in file.entries)
    if last > n_sections:
        raise DataUnfitError(
            f"{path.name} has a value for view {last}, but the stack of {series.name} has {n_sections}; give "
            "the file made "
            "from this stack"
        )
    notes = []
    numbered_from = 1
    if file.version < 2 and _counts_from_zero(file.entries, angles):
        numbered_from = 0
        notes.append("its views were counted from 0, as by old ctfplotters, and are counted from 1 here")
    sign = _sign_of_angles(file.entries, angles, numbered_from)
    inverted = sign < 0 or bool(file.flags & _INVERTED)
    if any(entry.cut_on_per_nm for entry in file.entries):
        notes.append("its cut-on frequencies are not kept")
    return ForeignCtf(
        path,
        _filled(file.entries, n_sections, numbered_from, sign),
        handedness=-1 if inverted else None,
        notes=tuple(notes),
    )


def _misfits(
    entries: Sequence[DefocusEntry], angles_deg: NDArray[np.float64], numbered_from: int, sign: float
) -> int:
    """Lines whose middle view does not have an angle of their range."""
    n = 0
    for entry in entries:
        section = (entry.first_view + entry.last_view) // 2 - numbered_from
        low, high = sorted((sign * entry.low_tilt_deg, sign * entry.high_tilt_deg))
        inside = 0 <= section < len(angles_deg)
        if not inside or not low - _ANGLE_TOLERANCE_DEG <= angles_deg[section] <= high + _ANGLE_TOLERANCE_DEG:
            n += 1
    return n


def _counts_from_zero(entries: Sequence[DefocusEntry], angles: Sequence[NDArray[np.float64]]) -> bool:
    if min(entry.first_view for entry in entries) == 0:
        return True
    fits = [min(_misfits(entries, known, base, 1.0) for known in angles) for base in (1, 0)]
    return fits[1] == 0 < fits[0]


def _sign_of_angles(
    entries: Sequence[DefocusEntry], angles: Sequence[NDArray[np.float64]], numbered_from: int
) -> float:
    fits = {
        sign: min(_misfits(entries, known, numbered_from, sign) for known in angles) for sign in (1.0, -1.0)
    }
    return -1.0 if fits[-1.0] == 0 < fits[1.0] else 1.0


def _filled(
    entries: Sequence[DefocusEntry], n_sections: int, numbered_from: int, sign: float
) -> tuple[ForeignCtfView, ...]:
    """One CTF a section: given at the middle of each line's views, linear between, the nearest beyond."""
    by_section: dict[int, DefocusEntry] = {}
    for entry in entries:
        by_section[(entry.first_view + entry.last_view) // 2 - numbered_from] = entry
    middles = sorted(by_section)
    known = [by_section[m].ctf for m in middles]
    mean = [ctf.defocus_angstrom for ctf in known]
    phase = [ctf.phase_shift_deg for ctf in known]
    # Half the astigmatism times exp(2 i angle) can be averaged, an angle cannot.
    twice = [
        0.5 * ctf.astigmatism_angstrom * np.exp(2j * math.radians(ctf.astigmatism_angle_deg)) for ctf in known
    ]
    views = []
    for section in range(n_sections):
        if section in by_section:
            entry = by_section[section]
            low, high = sorted((sign * entry.low_tilt_deg, sign * entry.high_tilt_deg))
            views.append(ForeignCtfView(entry.ctf, section=section, tilt_range_deg=(low, high)))
            continue
        middle, half = float(np.interp(section, middles, mean)), complex(np.interp(section, middles, twice))
        ctf = Ctf(
            middle + abs(half),
            middle - abs(half),
            0.5 * math.degrees(np.angle(half)),
            float(np.interp(section, middles, phase)),
            predicted=True,
        )
        views.append(ForeignCtfView(ctf, section=section))
    return tuple(views)


def write_imod_defocus(path: Path, series: TiltSeries) -> None:
    """Write version 3, one line for each section that has a CTF, angles as in the exported ``.tlt``.

    The defocus is that of the raw image's centre, from which ctfphaseflip counts (`ctf_of_image`).

    For handedness -1 flag 16 says that IMOD's programs are to be run with ``InvertTiltAngles``.
    """
    best = dict(zip((t.acquisition_index for t in series.tilts), series.tilt_deg, strict=True))
    rows = [
        (section, float(best[tilt.acquisition_index]), ctf)
        for section, tilt in sorted(tilts_of_sections(series).items())
        if (ctf := ctf_of_image(tilt, series)) is not None
    ]
    if not rows:
        raise DataUnfitError(f"{series.name} has no CTF; run estimate_ctf or import_ctf first")
    with_phase = any(ctf.phase_shift_deg for _, _, ctf in rows)
    flags = _ASTIGMATISM | (_PHASE if with_phase else 0)
    flags |= _INVERTED if series.handedness.applied == -1 else 0
    lines = [f"{flags}\t0\t0.0\t0.0\t0.0\t3"]
    for section, angle, ctf in rows:
        line = (
            f"{section + 1}\t{section + 1}\t{angle:.2f}\t{angle:.2f}\t{ctf.defocus_u_angstrom / 10:8.2f}\t"
            f"{ctf.defocus_v_angstrom / 10:8.2f}\t{ctf.astigmatism_angle_deg:7.2f}"
        )
        lines.append(line + (f"\t{ctf.phase_shift_deg:8.2f}" if with_phase else ""))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
