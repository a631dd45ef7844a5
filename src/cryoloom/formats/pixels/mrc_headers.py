"""Acquisition data in MRC headers: pixel size, and tilts in the extended headers of two programs."""

from __future__ import annotations

import numpy as np
from mrcfile.dtypes import get_ext_header_dtype
from numpy.typing import NDArray

__all__ = ["header_pixel_size_angstrom", "section_tilts_deg"]


def header_pixel_size_angstrom(header: NDArray[np.void], extended: bytes) -> float:
    """Pixel size along x; 0 if neither the cell nor an extended header of FEI contains it."""
    n_x, length = int(header["mx"]), float(header["cella"]["x"])
    if n_x > 0 and np.isfinite(length) and length > 0:
        return length / n_x
    fields = get_ext_header_dtype(bytes(header["exttyp"].tobytes()), header.dtype["mode"].byteorder)
    if fields is not None and "Pixel size X" in (fields.names or ()) and len(extended) >= fields.itemsize:
        return float(np.frombuffer(extended, fields, 1)[0]["Pixel size X"]) * 1e10  # FEI stores metres
    return 0.0


def section_tilts_deg(
    header: NDArray[np.void], raw: bytes, extended: bytes, n_sections: int
) -> tuple[float, ...] | None:
    """Tilts in the extended header: SerialEM's hundredths of a degree, or FEI's "Alpha tilt"."""
    order, kind = header.dtype["mode"].byteorder, bytes(header["exttyp"].tobytes())
    fields = get_ext_header_dtype(kind, order)
    if fields is not None and "Alpha tilt" in (fields.names or ()):
        step = int(np.frombuffer(extended, f"{order}i4", 1)[0]) if len(extended) >= 4 else 0
        step = step if fields.itemsize <= step <= len(extended) else fields.itemsize
        if n_sections * step > len(extended) + step - fields.itemsize:
            return None
        records = [np.frombuffer(extended, fields, 1, i * step)[0] for i in range(n_sections)]
        tilts = [float(record["Alpha tilt"]) for record in records]
    else:
        # SerialEM: bytes a section, and flags whose lowest bit says that a tilt comes first.
        step, flags = (int(v) for v in np.frombuffer(raw, f"{order}i2", 2, 128))
        is_serialem = kind == b"SERI" or (kind.strip(b"\0 ") == b"" and 0 < flags < 64)
        if not (is_serialem and flags & 1 and step >= 2 and n_sections * step <= len(extended)):
            return None
        tilts = [
            float(np.frombuffer(extended, f"{order}i2", 1, i * step)[0]) / 100 for i in range(n_sections)
        ]
    return tuple(tilts) if all(abs(tilt) <= 90 for tilt in tilts) else None
