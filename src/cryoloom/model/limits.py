"""Limits of numbers of an acquisition or an alignment; beyond them a file is damaged or misread.

One table for every reader and every model value. The limits are wide: they stop a lost decimal comma, a NaN
or a wrong unit, and let every real experiment pass. `require` is for what must be right, `plausible` for one
of several sources, which is then ignored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cryoloom.errors import DataUnfitError

__all__ = ["LIMITS", "Limit", "plausible", "require", "require_shift_in_field"]


@dataclass(frozen=True, slots=True)
class Limit:
    """Lowest and highest value of a quantity, and its unit."""

    low: float
    high: float
    unit: str
    excludes_low: bool = False

    def allows(self, value: float) -> bool:
        """Whether a value is finite and within the limits."""
        return math.isfinite(value) and (
            self.low < value <= self.high if self.excludes_low else self.low <= value <= self.high
        )

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()


LIMITS = {
    "tilt angle": Limit(-90.0, 90.0, "degrees"),
    # A tomogram may be turned over: trimming swaps its axes.
    "x-tilt": Limit(-180.0, 180.0, "degrees"),
    "tilt axis": Limit(-360.0, 360.0, "degrees"),
    # A field of 100 um: more than any detector sees at a magnification of tomography.
    "image shift": Limit(-1e6, 1e6, "A"),
    "magnification": Limit(0.5, 2.0, ""),
    # 100 um: ten times what any tilt series is taken with.
    "defocus": Limit(-1e6, 1e6, "A"),
    "astigmatism angle": Limit(-720.0, 720.0, "degrees"),
    "phase shift": Limit(-720.0, 720.0, "degrees"),
    "dose": Limit(0.0, 1e4, "e/A^2"),
    "pixel size": Limit(0.01, 1e4, "A"),
    "voltage": Limit(1.0, 3000.0, "kV"),
    "spherical aberration": Limit(-20.0, 20.0, "mm"),
    "residual": Limit(0.0, 1e6, "A"),
}


def plausible(quantity: str, value: float | None) -> float | None:
    """The value, or None if it is missing, not finite or impossible."""
    return value if value is not None and LIMITS[quantity].allows(value) else None


def require(quantity: str, value: float, where: str = "") -> float:
    """The value; raises DataUnfitError where it is not finite or impossible.

    where : the line or field of a file it stands in, for the message.
    """
    limit = LIMITS[quantity]
    if not limit.allows(value):
        place, cause = "", ""
        if where:
            place = f" in {where}"
            cause = ". The file is damaged or was written with other units or decimal commas"
        raise DataUnfitError(f"the {quantity}{place} is {value:g}; expected {limit}{cause}")
    return value


def require_shift_in_field(
    shift_xy_angstrom: tuple[float, float], field_xy_angstrom: tuple[float, float], where: str
) -> None:
    """Raise DataUnfitError if an image is shifted by more than three times its field."""
    for shift, field in zip(shift_xy_angstrom, field_xy_angstrom, strict=True):
        if not math.isfinite(shift) or abs(shift) > 3.0 * field:
            raise DataUnfitError(
                f"the image shift in {where} is {shift:g} A in a field of {field:g} A; expected at most "
                "three fields. The file is damaged, of other units, or of another series"
            )
