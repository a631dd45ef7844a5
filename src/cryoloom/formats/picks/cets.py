"""CETS annotations (TomoBabel's data model): points, or points with 3 x 3 rotations, of one tomogram a file.

``origin3D`` are positions and ``matrix3D`` rotations from object to tomogram, in the coordinate system that
is named: here "tomogram_centre", x y z in angstrom from the voxel ``n // 2``. One in pixels, or of another
name that is not about the centre, counts from the first voxel's centre.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes, tomogram_of_file, volume_of
from cryoloom.model import ParticleRows

__all__ = ["read_cets", "write_cets"]

_SYSTEM = "tomogram_centre"


def read_cets(path: Path, volumes: Volumes) -> ParticleRows:
    """All points of an annotation, a region or a data set, in one tomogram."""
    data = json.loads(path.read_text(encoding="utf-8"))
    name = tomogram_of_file(path, volumes)
    parts = [_annotation(one, name, volumes) for one in _with_points(data)]
    if not parts:
        raise DataUnfitError(f"{path} has no annotation with 'origin3D'")
    joined = ParticleRows.joined(parts)
    return ParticleRows.of(name, joined.positions_xyz_angstrom, rotations=joined.rotations)


def write_cets(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``<tomogram>_points.json`` of every tomogram: a PointMatrixSet3D."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name in np.unique(rows.tomogram).tolist():
        mine = rows.tomogram == name
        axes = [{"name": axis, "axis_unit": "angstrom", "axis_type": "space"} for axis in "xyz"]
        data = {
            "path": name,
            "origin3D": rows.positions_xyz_angstrom[mine].tolist(),
            "matrix3D": rows.rotations[mine].tolist(),
            "coordinate_systems": [{"name": _SYSTEM, "axes": axes}],
        }
        path = directory / f"{name}_points.json"
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        files.append(path)
    return files


def _with_points(data: Any) -> list[dict[str, Any]]:
    """Every annotation in a document that has points."""
    if isinstance(data, list):
        return [found for one in data for found in _with_points(one)]
    if not isinstance(data, dict):
        return []
    if data.get("origin3D"):
        return [data]
    return [found for one in data.values() for found in _with_points(one)]


def _annotation(data: dict[str, Any], name: str, volumes: Volumes) -> ParticleRows:
    places = np.array(data["origin3D"], dtype=np.float64).reshape(-1, 3)
    system = (data.get("coordinate_systems") or [{"name": _SYSTEM, "axes": []}])[0]
    units = {str(axis.get("axis_unit") or "angstrom").lower() for axis in system["axes"]} or {"angstrom"}
    if units <= {"angstrom", "å"}:
        if "cent" not in str(system["name"]).lower():
            volume = volume_of(volumes, name, "CETS")
            places = volume.positions(places / volume.voxel_angstrom)
    elif units <= {"pixel", "pixels", "voxel", "voxels", "px"}:
        places = volume_of(volumes, name, "CETS").positions(places)
    else:
        raise DataUnfitError(f"CETS axes in {sorted(units)}; expected angstrom or pixel")
    turned = np.array(data.get("matrix3D") or [np.eye(3)] * len(places)).reshape(-1, 3, 3)
    return ParticleRows.of(name, places, rotations=turned)
