"""Metadata of a folder of raw data before import: series, angles, dose, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.formats.session.mdoc import Mdoc
from cryoloom.formats.session.mdoc_search import find_mdocs
from cryoloom.formats.session.session_folder import FoundSeries, series_of_mdocs

__all__ = ["look_at"]

_MOST_MDOCS = 5000
"""Chosen: number of mdocs that are read before import."""
_MOVIES = {".mrc", ".mrcs", ".tif", ".tiff", ".eer", ".gain"}


def look_at(folder: Path, is_allowed: Callable[[Path], bool] = lambda _: True) -> dict[str, Any]:
    """Series in the mdocs of a folder, values common to all, and warnings; no movie is read.

    is_allowed : whether a file beside or above the folder may be read.
    """
    found = find_mdocs(folder)
    paths = [path for path in found.paths[:_MOST_MDOCS] if is_allowed(path)]
    series, notes = series_of_mdocs(paths)
    facts = {
        "pixel size, Å": _values([mdoc.pixel_size_angstrom for mdoc in _mdocs(series)]),
        "tilt axis, °": _values([mdoc.tilt_axis_deg[0] for mdoc in _mdocs(series) if mdoc.tilt_axis_deg]),
        "voltage, kV": _values([mdoc.voltage_kv for mdoc in _mdocs(series)]),
        "tilts": _values([len(one.exposures) for one in series]),
    }
    doubts = [found.note] if found.note and paths else []
    doubts += notes
    doubts += [
        f"{title}: the series differ ({', '.join(f'{value:g}' for value in values)})"
        for title, values in facts.items()
        if len(values) > 1
    ]
    doubts += [f"{one.name}: {one.error}" for one in series if one.error is not None]
    if not paths:
        doubts.append(f"no mdoc was found in {folder}; series are known by the names of movies then")
    return {
        "path": str(folder),
        "n_movies": sum(path.suffix.lower() in _MOVIES for path in _files(folder)),
        "n_mdocs": len(paths),
        "facts": facts,
        "series": [_row(one) for one in series],
        "doubts": doubts,
    }


def _mdocs(series: Sequence[FoundSeries]) -> list[Mdoc]:
    return [one.mdoc for one in series if one.mdoc is not None]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError:
        return []


def _row(one: FoundSeries) -> dict[str, Any]:
    """Angles in the order of acquisition and the accumulated dose, for sparklines."""
    exposures = list(one.exposures)
    if all(exposure.acquired_at is not None for exposure in exposures):
        exposures.sort(key=lambda exposure: exposure.acquired_at or datetime.min)
    dose = [exposure.dose_per_angstrom2 or 0.0 for exposure in exposures]
    return {
        "name": one.name,
        "n_tilts": len(one.exposures),
        "tilt_deg": [round(float(exposure.tilt_deg), 1) for exposure in exposures],
        "dose_per_angstrom2": np.cumsum(dose).round(1).tolist(),
    }


def _values(values: Sequence[Any]) -> list[float]:
    """Distinct values, rounded for display."""
    return sorted({round(float(value), 3) for value in values if value is not None})
