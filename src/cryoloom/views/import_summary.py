"""Table of the import, one line per series; series with the same metadata share a line."""

from __future__ import annotations

from collections.abc import Iterable

from cryoloom.model import TiltSeries

__all__ = ["import_line", "import_lines"]

_MOST_NAMES = 4
"""Chosen: series that a line names."""


def import_lines(series: Iterable[TiltSeries]) -> list[str]:
    """One line for every group of series with the same summary."""
    groups: dict[str, list[str]] = {}
    for one in series:
        groups.setdefault(import_line(one), []).append(one.name)
    return [f"{_named(names)}: {line}" for line, names in groups.items()]


def import_line(series: TiltSeries) -> str:
    """Tilts, frames, pixel size, axis with its source, dose and gain of a series."""
    angles = [tilt.nominal_tilt_deg for tilt in series.tilts]
    parts = [f"{len(angles)} tilts, {min(angles):g} to {max(angles):g} deg"]
    frames = sorted({tilt.movie.n_frames for tilt in series.tilts if tilt.movie is not None})
    if frames:
        parts.append(f"{_range(frames)} frames")
    parts.append(f"{series.pixel_size_angstrom:.4g} A")
    axis = series.tilt_axis_deg
    if axis.applied is None:
        parts.append("axis not known")
    else:
        by = axis.told_by if axis.applied == axis.told else axis.measured_by or "user"
        parts.append(f"axis {axis.applied:.2f} deg ({by})")
    total = max(tilt.dose_end_per_angstrom2 for tilt in series.tilts)
    parts.append(f"{total:.4g} e/A^2 in all" if total > 0 else "dose not known")
    parts.append("no gain reference" if series.gain is None else f"gain {series.gain.path.name}")
    return ", ".join(parts)


def _range(values: list[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _named(names: list[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return ", ".join(names)
    return f"{len(names)} series ({names[0]} to {names[-1]})"
