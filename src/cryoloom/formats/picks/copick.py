"""copick's picks (``<user>_<session>_<object>.json``), one file for each tomogram ("run") and object.

Locations are in angstrom from the corner, where voxel index times spacing is the location: the first voxel's
centre is 0. ``transformation_`` is 4 x 4, from the object to the tomogram; its translation, in angstrom, is
added to the location (copick's docs/geometry.md).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes, volume_of
from cryoloom.model import ParticleRows

__all__ = ["read_copick", "write_copick"]


def read_copick(path: Path, volumes: Volumes) -> ParticleRows:
    """Picks of one run."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "points" not in data or "run_name" not in data:
        raise DataUnfitError(f"{path} is not a file of copick's picks; it has {sorted(data)[:8]}")
    if data.get("unit", "angstrom") != "angstrom":
        raise DataUnfitError(f"{path} has positions in {data['unit']!r}; expected angstrom")
    points, name = data["points"] or [], str(data["run_name"])
    places = np.array([[point["location"][a] for a in "xyz"] for point in points]).reshape(-1, 3)
    turned = np.array([point.get("transformation_") or np.eye(4) for point in points]).reshape(-1, 4, 4)
    positions = np.zeros((0, 3))
    if len(points):
        volume = volume_of(volumes, name, "copick")
        positions = volume.positions((places + turned[:, :3, 3]) / volume.voxel_angstrom)
    rows = ParticleRows.of(
        name,
        positions,
        rotations=turned[:, :3, :3],
        score=np.array([float(point.get("score") or 0.0) for point in points]),
    )
    instances = np.array([int(point.get("instance_id") or 0) for point in points], dtype=np.int64)
    return replace(rows, others={"instance_id": instances})


def write_copick(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``ExperimentRuns/<tomogram>/Picks/cryoloom_1_particle.json`` of every tomogram."""
    files = []
    instance = (rows.others or {}).get("instance_id")
    for name in np.unique(rows.tomogram).tolist():
        mine = np.flatnonzero(rows.tomogram == name)
        volume = volume_of(volumes, name, "copick")
        places = volume.pixels(rows.positions_xyz_angstrom[mine]) * volume.voxel_angstrom
        points = []
        for place, i in zip(places, mine.tolist(), strict=True):
            matrix = np.eye(4)
            matrix[:3, :3] = rows.rotations[i]
            points.append(
                {
                    "location": dict(zip("xyz", map(float, place), strict=True)),
                    "transformation_": matrix.tolist(),
                    "instance_id": int(rows.particle[i] if instance is None else instance[i]),
                    "score": 1.0 if rows.score is None else float(rows.score[i]),
                }
            )
        data = {
            "pickable_object_name": "particle",
            "user_id": "cryoloom",
            "session_id": "1",
            "run_name": name,
            "voxel_spacing": volume.voxel_angstrom,
            "unit": "angstrom",
            "points": points,
        }
        path = directory / "ExperimentRuns" / name / "Picks" / "cryoloom_1_particle.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        files.append(path)
    return files
