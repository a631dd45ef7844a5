"""Neuroglancer: its state for a scene, the 8-bit levels as OME-Zarr, and the folder of its client.

The client is the static part of the optional Python package ``neuroglancer``. This server serves it like any
other page, so one tunnel and one token are enough; the package's own server is not used.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from cryoloom.errors import UserInputError
from cryoloom.formats.pixels.zarr import multiscales
from cryoloom.geometry.frames import index_from_position
from cryoloom.web.other_programs.scene import PlacedSet, Scene
from cryoloom.web.pictures.levels import Levels

__all__ = ["CHUNK", "client_folder", "neuroglancer_state", "zarr_answer"]

CHUNK = 64
"""Neuroglancer's default chunk size."""
_COLOURS = ("#56b4e9", "#e69f00", "#f0e442", "#cc79a7", "#009e73", "#d55e00")
#: Chosen for viewing: length of a drawn z axis if no diameter is known.
_AXIS_VOXELS = 12.0
#: Chosen: points of one layer, because the state is one text that the browser parses.
_MOST_PLACES = 20_000


def client_folder() -> Path | None:
    """Folder of the client's files; None if the package is not installed. The package is not imported."""
    found = importlib.util.find_spec("neuroglancer")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "static" / "client"
    return folder if (folder / "index.html").is_file() else None


def neuroglancer_state(
    scene: Scene, source: str, at_xyz: tuple[float, float, float] | None
) -> dict[str, Any]:
    """State of Neuroglancer that shows a scene.

    source : address of its OME-Zarr. at_xyz : position in voxels, where voxel i spans i to i + 1, as on our
    pages and in Neuroglancer; None for the middle.
    """
    size_m = scene.voxel_size_angstrom * 1e-10
    position = at_xyz or tuple(n / 2 for n in scene.shape[::-1])
    layers: list[dict[str, Any]] = [
        {"type": "image", "name": scene.name, "source": f"zarr3://{source}", "shader": _SHADER}
    ]
    for number, one in enumerate(scene.sets):
        layers.append(
            {
                "type": "annotation",
                "name": one.name,
                "source": "local://annotations",
                "annotationColor": _COLOURS[number % len(_COLOURS)],
                "annotations": _annotations(one, scene),
            }
        )
    return {
        "dimensions": {axis: [size_m, "m"] for axis in "xyz"},
        "position": list(position),
        "crossSectionScale": 1,
        "projectionScale": 1.5 * max(scene.shape),
        "layers": layers,
        "layout": "4panel",
        "showSlices": False,
    }


_SHADER = "#uicontrol invlerp normalized\nvoid main() { emitGrayscale(normalized()); }\n"


def _annotations(one: PlacedSet, scene: Scene) -> list[dict[str, Any]]:
    """A point for every position; with an orientation, also a line along the z axis of the reference."""
    index = index_from_position(one.positions_xyz_angstrom, scene.shape, scene.voxel_size_angstrom)
    voxels = index[:_MOST_PLACES, ::-1] + 0.5  # the middle of voxel i is at i + 0.5
    if one.rotations is None:
        return [{"type": "point", "id": str(i), "point": list(at)} for i, at in enumerate(voxels.round(3))]
    angstrom = one.diameter_angstrom or _AXIS_VOXELS * scene.voxel_size_angstrom
    ends = voxels + one.rotations[:_MOST_PLACES, :, 2] * (angstrom / scene.voxel_size_angstrom)
    return [
        {"type": "line", "id": str(i), "pointA": list(begin), "pointB": list(end)}
        for i, (begin, end) in enumerate(zip(voxels.round(3), ends.round(3), strict=True))
    ]


def zarr_answer(levels: Levels, voxel_size_angstrom: float, path: str) -> tuple[bytes, str]:
    """A file of the 8-bit levels as OME-Zarr 0.5, and its media type.

    path : relative to the store's folder. Raises UserInputError for a path that the store does not have.
    """
    parts = path.split("/")
    if parts == ["zarr.json"]:
        return _json(
            {
                "zarr_format": 3,
                "node_type": "group",
                "attributes": {"ome": multiscales("volume", len(levels.arrays), voxel_size_angstrom)},
            }
        )
    if not parts[0].isdecimal() or int(parts[0]) >= len(levels.arrays):
        raise UserInputError(f"the volume has no {path!r}")
    array = levels.arrays[int(parts[0])]
    if array is None:
        raise UserInputError(f"the volume has no level {parts[0]}")
    if parts[1:] == ["zarr.json"]:
        return _json(_array_facts(array.shape))
    numbers = parts[2:]
    if parts[1:2] != ["c"] or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        raise UserInputError(f"the volume has no {path!r}")
    begin = [CHUNK * int(number) for number in numbers]
    if any(b >= n for b, n in zip(begin, array.shape, strict=True)):
        raise UserInputError(f"the volume has no chunk {'/'.join(numbers)}")
    cut = array[tuple(slice(b, b + CHUNK) for b in begin)]
    whole = np.zeros((CHUNK,) * 3, dtype=np.uint8)  # chunks at the end of an axis are padded
    whole[tuple(slice(0, n) for n in cut.shape)] = cut
    return whole.tobytes(), "application/octet-stream"


def _array_facts(shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK] * 3}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "dimension_names": ["z", "y", "x"],
        "attributes": {},
    }


def _json(facts: dict[str, Any]) -> tuple[bytes, str]:
    return json.dumps(facts).encode(), "application/json"
