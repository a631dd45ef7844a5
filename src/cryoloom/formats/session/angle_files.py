"""Text beside a stack, one line a section: tilt angles (.rawtlt, .tlt) and exposures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["read_exposures", "read_tilt_angles"]


def read_tilt_angles(path: Path) -> NDArray[np.float64]:
    """Tilt angles in degrees, one a section, in the order of the stack."""
    return _columns(path, (1,), "one tilt angle a line")[:, 0]


def read_exposures(path: Path) -> NDArray[np.float64]:
    """Dose before and dose of each section, ``(section, 2)`` in e/A^2. One column is the dose before."""
    return _columns(path, (1, 2), "pre-exposure and exposure a line")


def _columns(path: Path, allowed: tuple[int, ...], expected: str) -> NDArray[np.float64]:
    """Numbers of a file; ``#`` begins a comment, blanks or commas part columns."""
    rows: list[list[float]] = []
    for i, line in enumerate(path.read_text(encoding="latin-1").splitlines(), start=1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) not in allowed or (rows and len(row) != len(rows[0])) or not np.isfinite(row).all():
            raise DataUnfitError(f"line {i} of {path.name} is {line.strip()[:60]!r}; expected {expected}")
        rows.append(row)
    if not rows:
        raise DataUnfitError(f"{path.name} is empty; expected {expected}")
    return np.array(rows)
