"""CTFFIND's tables (versions 4 and 5), and AreTomo's and MotionCor3's, which have the same columns.

Image number, defocus 1 and 2 in angstrom, azimuth of defocus 1 in degrees from x counter-clockwise (row 0 at
the bottom, as ours), phase shift in radian, score, fit resolution in angstrom. CTFFIND 5 adds tilt axis, tilt
and thickness; AreTomo 3 adds a handedness of its own frame, which is not kept; MotionCor3 has no number.

CTFFIND counts the sections of the stack it was given. AreTomo sorts the images by tilt first, dark ones
included, and counts from 1 or from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.ctf_programs.foreign_ctf import (
    ForeignCtf,
    ForeignCtfView,
    ctf_of,
    ctfs_of_sections,
    tilts_of_sections,
)
from cryoloom.model import Ctf, TiltSeries

__all__ = ["read_aretomo_ctf", "read_ctffind", "read_ctffind_folder", "write_aretomo_ctf", "write_ctffind"]

_COLUMNS = (
    "# Columns: #1 - micrograph number; #2 - defocus 1 [Angstroms]; #3 - defocus 2; #4 - azimuth of "
    "astigmatism; "
    "#5 - additional phase shift [radians]; #6 - cross correlation; #7 - spacing (in Angstroms) up "
    "to which CTF "
    "rings were fit successfully"
)
_ARETOMO_COLUMNS = (
    "# Columns: #1 micrograph number; #2 - defocus 1 [A]; #3 - defocus 2; #4 - azimuth of astigmatism; #5 - "
    "additional phase shift [radian]; #6 - cross correlation; #7 - spacing (in Angstroms) up to "
    "which CTF rings "
    "were fit successfully"
)


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    ctf: Ctf | None
    """None where the program's fit went astray."""
    thickness_angstrom: float | None = None
    impossible: str = ""
    """Fault in the values of a failed fit."""


def read_ctffind(path: Path) -> ForeignCtf:
    """CTFs of a stack, one a section."""
    rows = _rows(path)
    _require_counted(path, [row.number for row in rows], first=1)
    views = tuple(ForeignCtfView(row.ctf, section=row.number - 1) for row in rows if row.ctf is not None)
    return ForeignCtf(path, views, len(rows), notes=_thickness_note(rows) + _astray_note(rows))


def read_ctffind_folder(folder: Path) -> ForeignCtf:
    """CTFs of single images, from a folder with one file each, named as its image."""
    views = []
    found: list[_Row] = []
    for path in sorted(folder.glob("*.txt")):
        if path.stem.endswith("_avrot"):
            continue
        rows = _rows(path)
        if len(rows) != 1:
            raise DataUnfitError(
                f"{path} has {len(rows)} images; expected one in each file of a folder. Give the file itself"
            )
        found += rows
        if rows[0].ctf is not None:
            views.append(ForeignCtfView(rows[0].ctf, image_name=path.stem))
    if not views:
        raise DataUnfitError(f"{folder} holds no .txt file of CTFFIND")
    return ForeignCtf(folder, tuple(views), notes=_astray_note(found))


def read_aretomo_ctf(path: Path) -> ForeignCtf:
    """CTFs of an AreTomo ``_CTF.txt``, in order of tilt."""
    rows = _rows(path)
    numbers = [row.number for row in rows]
    _require_counted(path, numbers, first=min(numbers))
    views = tuple(
        ForeignCtfView(row.ctf, tilt_rank=row.number - min(numbers)) for row in rows if row.ctf is not None
    )
    return ForeignCtf(path, views, len(rows), notes=_astray_note(rows))


def write_ctffind(path: Path, series: TiltSeries) -> None:
    """Write the series' CTFs as CTFFIND 4 does, one a section; excluded ones as `ctfs_of_sections` gives."""
    microscope, stack = series.microscope, series.unweighted_stack
    header = [
        "# Output from cryoloom in the format of CTFFind version 4.1",
        f"# Input file: {series.name} ; Number of micrographs: {stack.images.shape[0]}",
        f"# Pixel size: {stack.pixel_size_angstrom:.3f} Angstroms ; acceleration voltage: "
        f"{microscope.voltage_kv:.1f} keV ; spherical aberration: "
        f"{microscope.spherical_aberration_mm:.2f} mm ; "
        f"amplitude contrast: {microscope.amplitude_contrast:.2f}",
        _COLUMNS,
    ]
    lines = [
        f"{i + 1:f} {ctf.defocus_u_angstrom:f} {ctf.defocus_v_angstrom:f} {ctf.astigmatism_angle_deg:f} "
        f"{math.radians(ctf.phase_shift_deg):f} {ctf.score or 0.0:f} "
        f"{ctf.fit_resolution_angstrom or math.inf:f}"
        for i, ctf in enumerate(ctfs_of_sections(series))
    ]
    path.write_text("\n".join([*header, *lines]) + "\n", encoding="utf-8")


def write_aretomo_ctf(path: Path, series: TiltSeries) -> None:
    """Write the series' CTFs as AreTomo does, in order of tilt."""
    by_section = tilts_of_sections(series)
    in_order = sorted(
        zip(sorted(by_section), ctfs_of_sections(series), strict=True),
        key=lambda pair: (by_section[pair[0]].nominal_tilt_deg, by_section[pair[0]].acquisition_index),
    )
    lines = [
        f"{i + 1:4d} {ctf.defocus_u_angstrom:10.2f} {ctf.defocus_v_angstrom:9.2f} "
        f"{ctf.astigmatism_angle_deg:9.2f} {math.radians(ctf.phase_shift_deg):9.4f} {ctf.score or 0.0:8.4f} "
        f"{ctf.fit_resolution_angstrom or 0.0:9.4f}"
        for i, (_, ctf) in enumerate(in_order)
    ]
    path.write_text("\n".join([_ARETOMO_COLUMNS, *lines]) + "\n", encoding="utf-8")


def _rows(path: Path) -> list[_Row]:
    found: list[_Row] = []
    try:
        for line in path.read_text(encoding="latin-1").splitlines():
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            values = [float(word) for word in words]
            if len(values) == 6:
                values.insert(0, float(len(found) + 1))
            if not 7 <= len(values) <= 10:
                raise ValueError(f"a line has {len(words)} numbers")
            found.append(_row(values, path))
    except (OSError, ValueError) as error:
        raise DataUnfitError(
            f"{path} is not a table of CTFFIND, AreTomo or MotionCor3: expected 6 to 10 numbers a "
            f"line ({error})"
        ) from error
    if not found:
        raise DataUnfitError(f"{path} holds no CTF; expected a line of numbers for each image")
    astray = [row for row in found if row.ctf is None]
    if 2 * len(astray) >= len(found):
        # One fit in many goes astray; where most did, the file is of another kind.
        raise DataUnfitError(f"{len(astray)} of {len(found)} fits are impossible: {astray[0].impossible}")
    return found


def _row(values: list[float], path: Path) -> _Row:
    """The CTF of an image; CTFFIND 5 was seen to give one tilt of seven a defocus of -130 micrometres."""
    number, first, second, angle, phase, score, resolution = values[:7]
    thickness = values[9] if len(values) == 10 else None
    try:
        ctf = ctf_of(
            first,
            second,
            angle,
            phase_shift_deg=math.degrees(phase),
            fit_resolution_angstrom=resolution,
            score=score,
            where=f"line {int(number)} of {path.name}",
        )
    except DataUnfitError as error:
        return _Row(int(number), None, thickness, error.message)
    return _Row(int(number), ctf, thickness)


def _astray_note(rows: list[_Row]) -> tuple[str, ...]:
    """Notes on values that were left out because they are impossible for a fit."""
    astray = [row for row in rows if row.ctf is None]
    if not astray:
        return ()
    return (f"{len(astray)} of {len(rows)} fits went astray and are left out: {astray[0].impossible}",)


def _require_counted(path: Path, numbers: list[int], first: int) -> None:
    """A missing or repeated line would move the ones after it."""
    expected = list(range(first, first + len(numbers)))
    if first not in (0, 1) or sorted(numbers) != expected:
        raise DataUnfitError(
            f"{path} numbers its images {numbers[:3]} to {numbers[-1]}; expected each of 1 to "
            f"{len(numbers)} once"
        )


def _thickness_note(rows: list[_Row]) -> tuple[str, ...]:
    values = sorted(row.thickness_angstrom for row in rows if row.thickness_angstrom)
    if not values:
        return ()
    return (f"its thickness of {values[len(values) // 2]:.0f} A (median) is reported here only",)
