"""Text beside a stack, one line a section: tilt angles (.rawtlt, .tlt) and exposures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.numbers import AmbiguousNumberError, parse_numbers
from cryoloom.model.limits import require

__all__ = ["read_exposures", "read_tilt_angles", "read_tilt_doses"]


def read_tilt_angles(path: Path) -> NDArray[np.float64]:
    """Tilt angles in degrees, one a section, in the order of the stack. A second column is their dose."""
    angles = _columns(path, (1, 2), "one tilt angle a line, or an angle and a dose")[:, 0]
    for i, angle in enumerate(angles):
        require("tilt angle", float(angle), f"line {i + 1} of {path.name}")
    return angles


def read_tilt_doses(path: Path) -> NDArray[np.float64] | None:
    """Dose before and dose of each section by the second column, ``(section, 2)`` in e/A^2; None without one.

    Doses that are all alike are those of single images and give no order. Else they add up; those that begin
    at 0 are the doses before each image, others those after it.
    """
    columns = _columns(path, (1, 2), "one tilt angle a line, or an angle and a dose")
    if columns.shape[1] < 2:
        return None
    total = columns[:, 1]
    for i, dose in enumerate(total):
        require("dose", float(dose), f"line {i + 1} of {path.name}")
    steps = np.diff(np.sort(total))
    if not (steps > 0).any():
        return None
    each = float(np.median(steps[steps > 0]))
    before = total if total.min() < 0.5 * each else total - each
    return np.stack([np.maximum(before, 0.0), np.full(len(total), each)], axis=1)


def read_exposures(path: Path) -> NDArray[np.float64]:
    """Dose before and dose of each section, ``(section, 2)`` in e/A^2. One column is the dose before."""
    columns = _columns(path, (1, 2), "pre-exposure and exposure a line")
    for i, row in enumerate(columns):
        for dose in row:
            require("dose", float(dose), f"line {i + 1} of {path.name}")
    return columns


def _columns(path: Path, allowed: tuple[int, ...], expected: str) -> NDArray[np.float64]:
    """Numbers of a file; ``#`` begins a comment, blanks or commas part columns.

    A comma is a decimal comma where blanks part the columns (`parse_numbers`); else it is refused if both
    may be meant.
    """
    rows: list[list[float]] = []
    for i, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            row = list(parse_numbers(text, None if len(allowed) > 1 else allowed[0]))
        except AmbiguousNumberError as error:
            raise DataUnfitError(f"line {i} of {path.name}: {error}") from None
        if len(row) not in allowed or (rows and len(row) != len(rows[0])) or not np.isfinite(row).all():
            raise DataUnfitError(f"line {i} of {path.name} is {line.strip()[:60]!r}; expected {expected}")
        rows.append(row)
    if not rows:
        raise DataUnfitError(f"{path.name} is empty; expected {expected}")
    return np.array(rows)
