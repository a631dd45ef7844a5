"""Scripts that show a scene in ChimeraX and in napari, and the command for 3dmod.

A script contains the positions, so that it is a single file; the volumes are not copied.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from cryoloom.geometry.frames import index_from_position
from cryoloom.web.other_programs.scene import Scene

__all__ = ["chimerax_script", "command_for_3dmod", "napari_script", "safe_file_name"]

#: Chosen for viewing: length of an axis if no diameter is known.
_ARROW_VOXELS = 8.0

_CHIMERAX = '''"""Tomogram {name} with its particles, in ChimeraX: chimerax {file_name}

Positions are in angstrom from the tomogram's centre, which is put at the origin. Arrows are the x (red),
y (green) and z (blue) axes of the reference as it is turned there. Written by cryoloom.
"""
import json
import os
import tempfile

import numpy
from chimerax.core.commands import run
from chimerax.geometry import Places

SCENE = json.loads({scene})


def open_volume(path, voxel_size, centre_index):
    model = run(session, "open " + json.dumps(path))[0]
    spec = "#" + model.id_string
    if voxel_size:
        run(session, "volume %s voxelSize %g" % (spec, voxel_size))
    run(session, "volume %s originIndex %g,%g,%g" % (spec, *centre_index))
    return model, spec


def bild_of(one):
    lines = []
    for position, turn in zip(one["positions"], one["rotations"] or [None] * len(one["positions"])):
        x, y, z = position
        if turn is None:
            lines += [".color yellow", ".sphere %.2f %.2f %.2f %.2f" % (x, y, z, one["length"] / 2)]
            continue
        for axis, color in enumerate(("red", "green", "blue")):
            tip = [p + one["length"] * turn[row][axis] for row, p in enumerate(position)]
            lines += [".color " + color, ".arrow %.2f %.2f %.2f %.2f %.2f %.2f %.2f %.2f"
                      % (x, y, z, *tip, one["length"] / 20, one["length"] / 8)]
    return "\\n".join(lines) + "\\n"


_, tomogram = open_volume(SCENE["path"], SCENE["voxel_size"], SCENE["centre_index"])
run(session, "volume %s style image region all" % tomogram)
for one in SCENE["sets"]:
    handle, path = tempfile.mkstemp(suffix=".bild", prefix=one["file"] + "-")
    with os.fdopen(handle, "w") as file:
        file.write(bild_of(one))
    run(session, "open " + json.dumps(path))
    os.remove(path)
    if one["map"] and one["rotations"]:
        model, spec = open_volume(one["map"], 0, one["map_centre_index"])
        run(session, "volume %s style surface step 1" % spec)
        places = numpy.concatenate(
            [numpy.array(one["rotations"], float), numpy.array(one["positions"], float)[:, :, None]], axis=2
        )
        model.positions = Places(place_array=numpy.ascontiguousarray(places))
run(session, "view")
'''

_NAPARI = '''"""Tomogram {name} with its particles, in napari: python {file_name}

It needs napari and mrcfile. Coordinates are (z, y, x) in angstrom; number 0 of the volume lies at 0. Vectors
are the z axes of the
reference as it is turned there. Written by cryoloom.
"""
import json

import mrcfile
import napari
import numpy

SCENE = json.loads({scene})

size = SCENE["voxel_size"] or 1.0
viewer = napari.Viewer(title=SCENE["name"])
volume = mrcfile.mmap(SCENE["path"], permissive=True).data
viewer.add_image(volume, name=SCENE["name"], scale=(size,) * 3)
for one in SCENE["sets"]:
    places = numpy.array(one["indices_zyx"], float).reshape(-1, 3) * size
    look = {"face_color": "transparent", "border_color": "yellow"}
    viewer.add_points(places, name=one["name"], size=one["length"], **look)
    if one["rotations"]:
        turns = numpy.array(one["rotations"], float)
        towards = turns[:, ::-1, 2] * one["length"]  # the z axis as (z, y, x)
        viewer.add_vectors(numpy.stack([places, towards], axis=1), name=one["name"] + " z", edge_color="cyan")
viewer.dims.set_point(0, volume.shape[0] // 2 * size)
napari.run()
'''


def chimerax_script(scene: Scene, map_centres: dict[Path, tuple[int, int, int]]) -> str:
    """Script for ChimeraX. map_centres : index (x, y, z) of the centre of each set's map."""
    return _filled(_CHIMERAX, scene, f"{safe_file_name(scene.name)}_chimerax.py", map_centres)


def napari_script(scene: Scene) -> str:
    """Script for napari."""
    return _filled(_NAPARI, scene, f"{safe_file_name(scene.name)}_napari.py", {})


def command_for_3dmod(scene: Scene, model_name: str) -> str:
    """Command that shows the tomogram with the IMOD model of its picks."""
    return shlex.join(["3dmod", str(scene.path), model_name])


def _filled(
    template: str, scene: Scene, file_name: str, map_centres: dict[Path, tuple[int, int, int]]
) -> str:
    # Names from users are written as Python literals, so that they cannot contain code.
    facts = repr(json.dumps(_facts(scene, map_centres)))
    safe = safe_file_name(scene.name)
    return template.replace("{name}", safe).replace("{file_name}", file_name).replace("{scene}", facts)


def _facts(scene: Scene, map_centres: dict[Path, tuple[int, int, int]]) -> dict[str, Any]:
    sets = []
    for one in scene.sets:
        length = one.diameter_angstrom or _ARROW_VOXELS * scene.voxel_size_angstrom
        index = index_from_position(one.positions_xyz_angstrom, scene.shape, scene.voxel_size_angstrom)
        sets.append(
            {
                "name": one.name,
                "file": safe_file_name(one.name),
                "positions": one.positions_xyz_angstrom.round(2).tolist(),
                "indices_zyx": index.round(3).tolist(),
                "rotations": None if one.rotations is None else one.rotations.round(5).tolist(),
                "length": round(float(length), 2),
                "map": None if one.map_path is None else str(one.map_path),
                "map_centre_index": map_centres.get(one.map_path) if one.map_path is not None else None,
            }
        )
    return {
        "name": scene.name,
        "path": str(scene.path),
        "voxel_size": scene.voxel_size_angstrom,
        "centre_index": scene.centre_index_xyz,
        "sets": sets,
    }


def safe_file_name(name: str) -> str:
    """A name that is valid in a header, a shell and every file system."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "tomogram"
