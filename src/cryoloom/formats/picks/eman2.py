"""EMAN2's boxes (``info/<tomogram>_info.json``, "boxes_3d"): positions and classes, no orientations.

With "apix_unbin" in the file, as e2spt_boxer writes it, they are unbinned pixels from the voxel ``n // 2``;
without it voxels of the tomogram from its first one, as of older versions and of Scipion. EMAN2's own
tomograms are mirrored in z against IMOD's: import what was picked in them with flip_z.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.errors import DataUnfitError
from cryoloom.formats.picks.volumes import Volumes, tomogram_of_file, volume_of
from cryoloom.model import ParticleRows

__all__ = ["read_eman2", "write_eman2"]


def read_eman2(path: Path, volumes: Volumes) -> ParticleRows:
    """Boxes of one tomogram: that whose name the file's begins with, or the only one."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    boxes = data.get("boxes_3d")
    if boxes is None:
        raise DataUnfitError(f"{path} has no 'boxes_3d'; it has {sorted(data)[:8]}")
    name = tomogram_of_file(path, volumes)
    places = np.array([box[:3] for box in boxes], dtype=np.float64).reshape(-1, 3)
    if "apix_unbin" in data:
        positions = places * float(data["apix_unbin"])
    else:
        positions = volume_of(volumes, name, "EMAN2").positions(places)
    scores = [float(box[4]) if len(box) > 4 else 0.0 for box in boxes]
    classes = [int(box[5]) if len(box) > 5 else 0 for box in boxes]
    return ParticleRows.of(
        name, positions, score=np.array(scores), class_number=np.array(classes, dtype=np.int64)
    )


def write_eman2(directory: Path, rows: ParticleRows, volumes: Volumes) -> list[Path]:
    """``info/<tomogram>_info.json`` of every tomogram, with one A as unbinned pixel."""
    files = []
    for name in np.unique(rows.tomogram).tolist():
        own = rows.take(np.flatnonzero(rows.tomogram == name))
        classes = np.zeros(own.n, np.int64) if own.class_number is None else own.class_number
        scores = np.zeros(own.n) if own.score is None else own.score
        boxes = [
            [*map(float, place), "manual", float(score), int(kind)]
            for place, score, kind in zip(own.positions_xyz_angstrom, scores, classes, strict=True)
        ]
        kinds = sorted(set(classes.tolist()))
        data = {
            "apix_unbin": 1.0,
            "boxes_3d": boxes,
            "class_list": {
                str(kind): {"boxsize": 32, "name": f"particles_{max(kind, 0):02d}"} for kind in kinds
            },
        }
        path = directory / "info" / f"{name}_info.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1), encoding="utf-8")
        files.append(path)
    return files
