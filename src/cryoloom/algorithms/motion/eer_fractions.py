"""Number of raw EER frames per fraction of a given dose, for every movie from its own dose and frames."""

from __future__ import annotations

from typing import Literal

from cryoloom.errors import UserInputError

__all__ = ["eer_frames_per_fraction"]


def eer_frames_per_fraction(
    n_frames: int,
    dose_per_angstrom2: float,
    target: float,
    unit: Literal["e/A^2", "e/px"],
    pixel_size_angstrom: float,
) -> int:
    """Raw frames a fraction, at least 1: ``round(target n_frames / dose)``.

    ``dose_per_angstrom2`` is that of the whole movie. A target in electrons per pixel, as some recipes
    have it, is of the camera's physical pixel, whose size is ``pixel_size_angstrom``.
    """
    for name, value in (
        ("dose", dose_per_angstrom2),
        ("target", target),
        ("pixel size", pixel_size_angstrom),
    ):
        if not value > 0:
            raise UserInputError(f"the {name} of an EER movie must be positive, got {value}")
    target_per_angstrom2 = target / pixel_size_angstrom**2 if unit == "e/px" else target
    return max(1, min(n_frames, round(target_per_angstrom2 * n_frames / dose_per_angstrom2)))
