"""CTFs of the tilts that a computation uses, all of them or an error."""

from __future__ import annotations

from collections.abc import Sequence

from cryoloom.errors import DataUnfitError
from cryoloom.model import Ctf, Tilt

__all__ = ["ctfs_of"]


def ctfs_of(tilts: Sequence[Tilt], series: str, *, otherwise: str = "") -> list[Ctf]:
    """The CTF of every tilt. Raises DataUnfitError if one has none; ``otherwise`` adds to what to do."""
    without = [tilt.acquisition_index for tilt in tilts if tilt.ctf is None]
    if without:
        raise DataUnfitError(
            f"{len(without)} of {len(tilts)} tilts have no CTF; run estimate_ctf first, or exclude "
            f"them{otherwise}",
            series=series,
            acquisition_indices=without[:10],
        )
    return [tilt.ctf for tilt in tilts if tilt.ctf is not None]
