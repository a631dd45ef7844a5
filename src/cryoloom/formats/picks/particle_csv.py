"""Particles as a table with a header (CSV): every column of the project's own, nothing lost.

Positions are in angstrom from the tomogram's centre, ``r00`` to ``r22`` the rotation from reference to
tomogram. Tables without rotations are points (`formats.exchange.marked_points`).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes
from cryoloom.model import ArrayTable, ParticleRows

__all__ = ["is_particle_csv", "read_particle_csv", "write_particle_csv"]


def is_particle_csv(path: Path) -> bool:
    """Whether a header names rotations."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return "r00" in file.readline().strip().split(",")
    except UnicodeDecodeError:
        return False


def read_particle_csv(path: Path, volumes: Volumes) -> ParticleRows:
    """Inverse of `write_particle_csv`."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file))
    header, rows = lines[0], lines[1:]
    ragged = [i + 2 for i, row in enumerate(rows) if len(row) != len(header)]
    if ragged:
        raise DataUnfitError(f"line {ragged[0]} of {path} has another number of values than the header")
    columns = {name: _typed([row[i] for row in rows], name) for i, name in enumerate(header)}
    return ParticleRows.from_table(ArrayTable(columns))


def write_particle_csv(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``particles.csv`` of all tomograms."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "particles.csv"
    columns = rows.columns()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
    return [path]


def _typed(values: list[str], name: str) -> NDArray[Any]:
    """Whole numbers, numbers, or text; a tomogram's name is always text."""
    if name == "tomogram":
        return np.array(values, dtype=np.str_)
    for kind in (int, float):
        try:
            return np.array([kind(value) for value in values])
        except ValueError:
            continue
    return np.array(values, dtype=np.str_)
