"""Scipion's sets of coordinates (``coordinates.sqlite``): table "Objects", whose columns "Classes" names.

Positions are voxels from ``n // 2`` of the tomogram, at the set's sampling rate. ``_eulerMatrix._matrix`` is
4 x 4 with ``moved(r) = reference(M r)``: its rotation is the transpose of ours, and the particle lies at the
coordinate plus ``-R t`` (scipion-em-tomo, `convertMatrix`; scipion-em-dynamo stores Dynamo's matrix, and
scipion-em-reliontomo the inverse of RELION's).
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes, volume_of
from cryoloom.model import ParticleRows

__all__ = ["read_scipion", "write_scipion"]

_COLUMNS = {
    "_x": "Float",
    "_y": "Float",
    "_z": "Float",
    "_volId": "Integer",
    "_eulerMatrix": "Transform",
    "_eulerMatrix._matrix": "Matrix",
    "_groupId": "Integer",
    "_tomoId": "String",
    "_score": "Float",
}


def read_scipion(path: Path, volumes: Volumes) -> ParticleRows:
    """Coordinates of a set, in its order. Raises DataUnfitError if the database is not such a set."""
    rows, rate = _objects(path)
    if not rows:
        return ParticleRows.of("", np.zeros((0, 3)))
    names = [str(row.get("_tomoId") or row.get("_volName") or "") for row in rows]
    if not any(names) and len(volumes) == 1:
        names = [next(iter(volumes))] * len(rows)
    matrices = np.array([_matrix(row.get("_eulerMatrix._matrix")) for row in rows])
    rotations = matrices[:, :3, :3].transpose(0, 2, 1)
    places = np.array([[float(row[axis]) for axis in ("_x", "_y", "_z")] for row in rows])
    places -= np.einsum("nij,nj->ni", rotations, matrices[:, :3, 3])
    sizes = [
        rate if rate is not None else volume_of(volumes, name, "Scipion").voxel_angstrom for name in names
    ]
    numbers = np.array([int(row["id"]) for row in rows], dtype=np.int64)
    return ParticleRows(
        tomogram=np.array(names, dtype=np.str_),
        particle=numbers,
        positions_xyz_angstrom=places * np.array(sizes)[:, None],
        rotations=rotations,
        surface=np.array([int(row.get("_groupId") or 0) for row in rows], dtype=np.int64),
        score=np.array([float(row.get("_score") or 0.0) for row in rows]),
    )


def write_scipion(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``coordinates.sqlite`` of all tomograms; they must have one voxel size."""
    sizes = {volume_of(volumes, name, "Scipion").voxel_angstrom for name in set(rows.tomogram.tolist())}
    if len(sizes) > 1:
        raise DataUnfitError(f"Scipion has one sampling rate for a set; the tomograms have {sorted(sizes)} A")
    rate = sizes.pop() if sizes else 1.0
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "coordinates.sqlite"
    path.unlink(missing_ok=True)
    columns = {name: f"c{i + 1:02d}" for i, name in enumerate(_COLUMNS)}
    volume_ids = {name: i + 1 for i, name in enumerate(sorted(set(rows.tomogram.tolist())))}
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE Properties (key TEXT UNIQUE, value TEXT)")
        properties = {"_samplingRate": f"{rate:.6g}", "_boxSize": "20", "self": "SetOfCoordinates3D"}
        database.executemany("INSERT INTO Properties VALUES (?, ?)", properties.items())
        database.execute(
            "CREATE TABLE Classes (id INTEGER PRIMARY KEY AUTOINCREMENT, label_property TEXT, "
            "column_name TEXT, class_name TEXT)"
        )
        kinds = [("self", "c00", "Coordinate3D"), *((n, columns[n], kind) for n, kind in _COLUMNS.items())]
        insert = "INSERT INTO Classes (label_property, column_name, class_name) VALUES (?, ?, ?)"
        database.executemany(insert, kinds)
        database.execute(
            "CREATE TABLE Objects (id INTEGER PRIMARY KEY, enabled INTEGER, label TEXT, comment TEXT, "
            f"creation DATE, {', '.join(columns.values())})"
        )
        for i in range(rows.n):
            matrix = np.eye(4)
            matrix[:3, :3] = rows.rotations[i].T
            values = {
                **dict(
                    zip(("_x", "_y", "_z"), map(float, rows.positions_xyz_angstrom[i] / rate), strict=True)
                ),
                "_volId": volume_ids[str(rows.tomogram[i])],
                "_eulerMatrix": None,
                "_eulerMatrix._matrix": json.dumps(matrix.tolist()),
                "_groupId": 0 if rows.surface is None else int(rows.surface[i]),
                "_tomoId": str(rows.tomogram[i]),
                "_score": 0.0 if rows.score is None else float(rows.score[i]),
            }
            marks = ", ".join("?" * (5 + len(values)))
            database.execute(
                f"INSERT INTO Objects VALUES ({marks})", (i + 1, 1, "", "", None, *values.values())
            )
    return [path]


def _objects(path: Path) -> tuple[list[dict[str, Any]], float | None]:
    """Objects by the names of their properties, and the set's sampling rate."""
    properties: dict[str, str] = {}
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            named = {
                str(row["column_name"]): str(row["label_property"])
                for row in database.execute("SELECT * FROM Classes")
            }
            raw = [dict(row) for row in database.execute("SELECT * FROM Objects ORDER BY id")]
            if database.execute("SELECT name FROM sqlite_master WHERE name = 'Properties'").fetchone():
                properties = {
                    row["key"]: row["value"] for row in database.execute("SELECT * FROM Properties")
                }
    except sqlite3.DatabaseError as error:
        raise DataUnfitError(f"{path} cannot be read as a set of Scipion: {error}") from error
    if not {"_x", "_y", "_z"} <= set(named.values()):
        raise DataUnfitError(f"{path} is not a set of 3D coordinates; it has {sorted(set(named.values()))}")
    rows = [{str(named.get(column, column)): value for column, value in row.items()} for row in raw]
    rows = [row for row in rows if row.get("enabled", 1) != 0]
    rate = properties.get("_samplingRate")
    return rows, float(rate) if rate and float(rate) > 0 else None


def _matrix(stored: object) -> list[list[float]]:
    """A 4 x 4 matrix as Scipion stores it: a list of rows as text."""
    if stored is None or stored == "":
        return np.eye(4).tolist()
    values = np.array(json.loads(str(stored)), dtype=np.float64)
    if values.shape != (4, 4):
        raise DataUnfitError(f"a coordinate has a matrix of {values.shape}; expected 4 x 4")
    return values.tolist()
