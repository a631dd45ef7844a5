"""IMOD's binary models (.mod, .fid, .seed): contours of points, read and written.

A file is ``IMODV1.2``, a header, then chunks in big-endian order: OBJT, CONT and MESH of fixed layout, others
with their length before them, IEOF at the end (IMOD's ``libimod/imodel_files.c`` and its page "IMOD Binary
File Format"). Points are pixels of the image the model was drawn on: x and y from its corner, where the first
pixel's centre is 0.5, z the section from 0. MINX gives that image's pixel size.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["ImodModel", "ImodObject", "read_model", "write_model"]

_HEADER = struct.Struct(">128s 4i 5i 6f 5i f 2i 3f")
_OBJECT = struct.Struct(">64s 16I i I 2i 3f i 8B 2i")
_CONTOUR = struct.Struct(">i I 2i")
_MESH = struct.Struct(">2i I 2h")
_SCATTERED_OPEN = 0x208
"""Object flags: contours are open, and points are separate."""


@dataclass(frozen=True, slots=True)
class ImodObject:
    """Contours ``(n, 3)`` each, xyz in pixels; an empty one keeps its place."""

    name: str
    contours: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class ImodModel:
    """A model and the image it was drawn on."""

    shape_zyx: tuple[int, int, int]
    objects: tuple[ImodObject, ...]
    pixel_size_angstrom: float | None = None
    """Pixel size of that image; None if the file does not contain it."""


def read_model(path: Path) -> ImodModel:
    """Read contours; meshes and display settings are ignored."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataUnfitError(f"{path} cannot be read: {error}") from error
    if data[:4] != b"IMOD" or len(data) < 8 + _HEADER.size:
        raise DataUnfitError(
            f"{path} is not an IMOD model: it begins with {data[:8]!r}, expected 'IMODV1.2'; save it with "
            "3dmod or imodtrans"
        )
    try:
        return _parsed(data)
    except (struct.error, ValueError, IndexError) as error:
        raise DataUnfitError(f"{path} is cut or damaged: {error}; copy or save it again") from error


def _parsed(data: bytes) -> ImodModel:
    header = _HEADER.unpack_from(data, 8)
    n_x, n_y, n_z, n_objects = header[1:5]
    objects: list[tuple[str, int, list[NDArray[np.float64]]]] = []
    pixel_size: float | None = None
    place = 8 + _HEADER.size
    while (chunk := data[place : place + 4]) != b"IEOF":
        place += 4
        if chunk == b"OBJT":
            fields = _OBJECT.unpack_from(data, place)
            name = fields[0].split(b"\0", 1)[0].decode("latin-1")
            objects.append((name, fields[17], []))
            place += _OBJECT.size
        elif chunk == b"CONT":
            n_points = _CONTOUR.unpack_from(data, place)[0]
            place += _CONTOUR.size
            points = np.frombuffer(data, ">f4", 3 * n_points, place).reshape(n_points, 3)
            objects[-1][2].append(points.astype(np.float64))
            place += 12 * n_points
        elif chunk == b"MESH":
            n_vertices, n_indices, *_ = _MESH.unpack_from(data, place)
            place += _MESH.size + 12 * n_vertices + 4 * n_indices
        else:
            (n_bytes,) = struct.unpack_from(">i", data, place)
            place += 4
            if chunk == b"MINX" and n_bytes >= 48:
                pixel_size = struct.unpack_from(">18f", data, place)[9] or None
            if n_bytes < 0:
                raise ValueError(f"a part {chunk!r} of {n_bytes} bytes")
            place += n_bytes
    if len(objects) != n_objects or any(len(found) != n_contours for _, n_contours, found in objects):
        raise ValueError(
            f"{len(objects)} objects with {[len(found) for *_, found in objects]} contours, its header gives "
            f"{n_objects} with {[n_contours for _, n_contours, _ in objects]}"
        )
    made = tuple(ImodObject(name, tuple(contours)) for name, _, contours in objects)
    return ImodModel((n_z, n_y, n_x), made, pixel_size)


def write_model(path: Path, model: ImodModel) -> None:
    """Write a model of open contours that 3dmod and tiltalign read."""
    n_z, n_y, n_x = model.shape_zyx
    parts = [
        b"IMODV1.2",
        _HEADER.pack(
            b"cryoloom",
            *(n_x, n_y, n_z, len(model.objects)),
            *(1 << 12, 1, 2, 0, 255),  # flags: z from 0 at the section's middle; how 3dmod shows it
            *(0.0, 0.0, 0.0, 1.0, 1.0, 1.0),
            *(0, 0, 0, 3, 128),
            (model.pixel_size_angstrom or 10.0) / 10.0,  # in nm, as the unit -9 says
            *(-9, 0),
            *(0.0, 0.0, 0.0),
        ),
    ]
    for one in model.objects:
        name = one.name.encode("latin-1", "replace")[:63]
        looks = (0.0, 1.0, 0.0, 3)  # green, points drawn 3 pixels large
        parts += [
            b"OBJT",
            _OBJECT.pack(
                *(name, *[0] * 16, len(one.contours), _SCATTERED_OPEN, 0, 1),
                *(*looks, 0, 3, 1, 1, 0, 0, 0, 0, 0, 0),
            ),
        ]
        for contour in one.contours:
            points = np.asarray(contour, dtype=">f4").reshape(-1, 3)
            parts += [b"CONT", _CONTOUR.pack(len(points), 0, 0, 0), points.tobytes()]
    scale = (model.pixel_size_angstrom or 1.0,) * 3
    parts += [b"MINX", struct.pack(">i 18f", 72, 1, 1, 1, *[0] * 6, *scale, *[0] * 6), b"IEOF"]
    path.write_bytes(b"".join(parts))
