"""Surfaces as binary glTF 2.0 (.glb), Khronos Group specification: for Blender, slides and web pages.

One unit of the file is one angstrom, as ChimeraX writes it.
"""

from __future__ import annotations

import json
import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["glb_of"]

_FLOAT, _UNSIGNED_INT = 5126, 5125
"""Component types of the specification."""
_VERTICES, _INDICES = 34962, 34963
"""Targets of a buffer view: ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER."""
_GREY_BLUE = [0.59, 0.75, 0.88, 1.0]
"""Chosen: red, green, blue, opacity."""


def glb_of(
    vertices_xyz_angstrom: NDArray[np.floating],
    normals_xyz: NDArray[np.floating],
    triangles: NDArray[np.integer],
    name: str,
) -> bytes:
    """Bytes of a file with a surface of vertices ``(n, 3)``, normals ``(n, 3)`` and triangles ``(m, 3)``."""
    vertices = np.ascontiguousarray(vertices_xyz_angstrom, dtype="<f4")
    normals = np.ascontiguousarray(normals_xyz, dtype="<f4")
    indices = np.ascontiguousarray(triangles, dtype="<u4")
    parts = [vertices.tobytes(), normals.tobytes(), indices.tobytes()]
    starts = [0, len(parts[0]), len(parts[0]) + len(parts[1])]
    document = {
        "asset": {"version": "2.0", "generator": "cryoloom"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "materials": [
            {"pbrMetallicRoughness": {"baseColorFactor": _GREY_BLUE, "metallicFactor": 0.0}, "name": name}
        ],
        "meshes": [
            {
                "name": name,
                "primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2, "material": 0}],
            }
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": _FLOAT,
                "count": len(vertices),
                "type": "VEC3",
                "min": [float(v) for v in vertices.min(axis=0)],
                "max": [float(v) for v in vertices.max(axis=0)],
            },
            {"bufferView": 1, "componentType": _FLOAT, "count": len(normals), "type": "VEC3"},
            {"bufferView": 2, "componentType": _UNSIGNED_INT, "count": indices.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part), "target": target}
            for start, part, target in zip(starts, parts, (_VERTICES, _VERTICES, _INDICES), strict=True)
        ],
        "buffers": [{"byteLength": sum(map(len, parts))}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)  # chunks begin at multiples of four bytes
    binary = b"".join(parts)
    length = 12 + 8 + len(text) + 8 + len(binary)
    return b"".join(
        [
            struct.pack("<4sII", b"glTF", 2, length),
            struct.pack("<I4s", len(text), b"JSON"),
            text,
            struct.pack("<I4s", len(binary), b"BIN\0"),
            binary,
        ]
    )
