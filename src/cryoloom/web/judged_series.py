"""Short form of a series for the pages with all series.

Tilts without a flag are stored as numbers only: 300,000 objects would take half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cryoloom.views.tilt_table import TiltRow
from cryoloom.web.project_view import SeriesView
from cryoloom.web.tilt_flags import CTF_REASON, Flag, JudgedTilt, judged_tilts_of

__all__ = ["JudgedSeries", "judged_series"]


_ARRAYS = ("fitted_tilt_deg", "fitted_defocus_angstrom")


@dataclass(frozen=True, slots=True, eq=False)
class JudgedSeries:
    """Short form of a series: number of tilts, flagged tilts, defocus, and where its pictures are."""

    name: str
    item: int | None
    role: str
    """Role of the stack in the item's value; "" if there is none."""
    n_tilts: int
    n_excluded: int
    doubted: tuple[JudgedTilt, ...]
    """Tilts flagged by the program."""
    picture_section: int | None
    """Section of the least tilted image, of a used one if possible."""
    fitted_tilt_deg: NDArray[np.float32]
    """Angles of the tilts with a CTF; the next two fields have the same order."""
    fitted_defocus_angstrom: NDArray[np.float32]
    """Mean of both principal directions."""
    fitted_marks: tuple[str, ...]
    """State of each: excluded, flagged (for its CTF), or ""."""

    @property
    def n_open(self) -> int:
        """Number of flagged tilts without a decision."""
        return sum(tilt.is_open for tilt in self.doubted)

    def as_json(self) -> dict[str, Any]:
        """Exact plain values for `of_json`."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
            "doubted": [asdict(tilt) for tilt in self.doubted],
        }

    @classmethod
    def of_json(cls, facts: Mapping[str, Any]) -> Self:
        """Inverse of `as_json`."""
        doubted = tuple(
            JudgedTilt(
                **{
                    **tilt,
                    "row": TiltRow(**tilt["row"]),
                    "flag": None if tilt["flag"] is None else Flag(**tilt["flag"]),
                }
            )
            for tilt in facts["doubted"]
        )
        numbers = {name: np.array(facts[name], dtype=np.float32) for name in _ARRAYS}
        return cls(**{**facts, **numbers, "doubted": doubted, "fitted_marks": tuple(facts["fitted_marks"])})


def judged_series(view: SeriesView) -> JudgedSeries:
    """Short form of a series."""
    tilts = judged_tilts_of(view)
    with_image = [tilt.row for tilt in tilts if tilt.row.section is not None]
    least = min(with_image, key=lambda row: (not row.is_kept, abs(row.tilt_deg)), default=None)
    fitted = [tilt for tilt in tilts if tilt.row.defocus_u_angstrom is not None]
    defocus = [((t.row.defocus_u_angstrom or 0) + (t.row.defocus_v_angstrom or 0)) / 2 for t in fitted]
    return JudgedSeries(
        name=view.name,
        item=view.series_item,
        role=next(iter(view.stack_roles()), ""),
        n_tilts=len(tilts),
        n_excluded=sum(not tilt.row.is_kept for tilt in tilts),
        doubted=tuple(tilt for tilt in tilts if tilt.flag is not None),
        picture_section=None if least is None else least.section,
        fitted_tilt_deg=np.array([tilt.row.tilt_deg for tilt in fitted], dtype=np.float32),
        fitted_defocus_angstrom=np.array(defocus, dtype=np.float32),
        fitted_marks=tuple(
            "excluded"
            if not tilt.row.is_kept
            else "flagged"
            if tilt.flag is not None and tilt.flag.reason == CTF_REASON
            else ""
            for tilt in fitted
        ),
    )
