"""The resolution to which a step must be exact."""

from __future__ import annotations

from cryoloom.errors import DataUnfitError

__all__ = ["wanted_resolution"]


def wanted_resolution(
    wanted_angstrom: float | None,
    usual_angstrom: float,
    *,
    parameter: str,
    pixel_size_angstrom: float,
    series: str,
) -> float:
    """The user's resolution by a parameter, or the usual one; refused if the pixels do not resolve it."""
    if wanted_angstrom is None:
        return usual_angstrom
    held = 2 * pixel_size_angstrom
    if wanted_angstrom < held:
        raise DataUnfitError(
            f"pixels of {pixel_size_angstrom:.2f} A hold nothing finer than {held:.2f} A, but {parameter} "
            f"is {wanted_angstrom:g}; leave it unset, or use smaller pixels",
            series=series,
        )
    return wanted_angstrom
