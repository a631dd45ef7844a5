"""Writing EER movies, a Falcon's electron events: a BigTIFF of one directory a raw frame.

Events are sorted by pixel and stored as run lengths between them, then the place within the pixel; least
significant bit first. A run of all ones has no event and goes on (EER file format documentation 3.0, 2023).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import UserInputError

__all__ = ["encode_eer_frame", "write_eer"]

SUB_PIXELS = 4
"""Events are placed on a grid this much finer than the pixels."""
_SUB_BITS = 2  # along x and along y
_SKIP_BITS = {65000: 8, 65001: 7, 65002: 7}
_SHORT, _LONG, _UNDEFINED, _LONG8 = 3, 4, 7, 16
"""Field types of TIFF and BigTIFF."""
_TYPE_BYTES = {_SHORT: 2, _LONG: 4, _UNDEFINED: 1, _LONG8: 8}


def encode_eer_frame(
    events_yx: NDArray[np.integer], shape_yx: tuple[int, int], skip_bits: int = 7
) -> tuple[bytes, int]:
    """Bytes of one raw frame, and how many events it holds: a pixel has one at most, others are lost.

    events_yx : (n, 2) rows and columns on the grid of quarter pixels, any order, row 0 first in the file.
    """
    n_y, n_x = shape_yx
    y, x = np.asarray(events_yx, dtype=np.int64).reshape(-1, 2).T
    pixel = (y // SUB_PIXELS) * n_x + x // SUB_PIXELS
    # A stable sort keeps the first event a pixel saw: the others fall into its dead time.
    pixel, first = np.unique(pixel, return_index=True)
    if len(pixel) and (pixel[0] < 0 or pixel[-1] >= n_y * n_x):
        raise UserInputError(f"events must lie on the {n_y * SUB_PIXELS} x {n_x * SUB_PIXELS} grid")
    top = 1 << (_SUB_BITS - 1)
    x_sub, y_sub = (x[first] % SUB_PIXELS) ^ top, (y[first] % SUB_PIXELS) ^ top
    # The end of the frame is stored like an event, on the pixel past the last.
    stops = np.append(pixel, n_y * n_x)
    runs = np.diff(stops, prepend=-1) - 1
    places = np.append(x_sub | (y_sub << _SUB_BITS), 0)
    longest = (1 << skip_bits) - 1
    n_full, rest = runs // longest, runs % longest
    return _pack(n_full, rest | (places << skip_bits), longest, skip_bits), len(pixel)


def _pack(n_full: NDArray[np.int64], codes: NDArray[np.int64], longest: int, skip_bits: int) -> bytes:
    """Bits of each code, behind ``n_full`` runs of all ones; least significant bit first."""
    code_bits = skip_bits + 2 * _SUB_BITS
    n_codes = n_full + 1
    is_code = np.zeros(int(n_codes.sum()), dtype=bool)
    is_code[np.cumsum(n_codes) - 1] = True
    values = np.full(len(is_code), longest, dtype=np.uint16)
    values[is_code] = codes
    widths = np.where(is_code, code_bits, skip_bits)
    bits = np.unpackbits(values.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")
    kept = np.arange(16) < widths[:, None]
    data = np.packbits(bits[kept], bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)  # cameras write words of 16 bits, and imagecodecs expects them


def write_eer(
    path: Path,
    frames: Iterable[NDArray[np.integer]],
    shape_yx: tuple[int, int],
    *,
    dose_per_angstrom2: float,
    pixel_size_angstrom: float,
    compression: int = 65001,
) -> int:
    """Write raw frames of events (as `encode_eer_frame` takes them); gives the number of events kept.

    compression : 65000 (runs of 8 bits), 65001 (7 bits) or 65002 (7 bits, given in tags).
    """
    if compression not in _SKIP_BITS:
        raise UserInputError(f"EER knows compression 65000, 65001 and 65002, got {compression}")
    skip_bits = _SKIP_BITS[compression]
    encoded, n_events = [], 0
    for events in frames:
        data, n = encode_eer_frame(events, shape_yx, skip_bits)
        encoded.append(data)
        n_events += n
    metadata = _acquisition_metadata(
        len(encoded), n_events, shape_yx, dose_per_angstrom2, pixel_size_angstrom
    )
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
        place = 16
        for i, data in enumerate(encoded):
            tags = _tags(shape_yx, compression, len(data), metadata)
            directory_bytes = 8 + 20 * len(tags) + 8
            outside = b"".join(value for *_, value in tags if len(value) > 8)
            data_at = place + directory_bytes + len(outside)
            following = data_at + len(data)
            following += -following % 8
            file.write(
                _directory(tags, place + directory_bytes, data_at, following, last=i + 1 == len(encoded))
            )
            file.write(outside + data)
            file.write(b"\0" * (following - data_at - len(data)))
            place = following
    return n_events


_STRIP_OFFSETS = 273
"""Tag of TIFF, whose value is known last."""


def _tags(
    shape_yx: tuple[int, int], compression: int, n_bytes: int, metadata: bytes
) -> list[tuple[int, int, bytes]]:
    """Number, type and value of each tag, in ascending order; the strip's offset is filled in later."""
    n_y, n_x = shape_yx
    tags = [
        (256, _LONG, struct.pack("<I", n_x)),
        (257, _LONG, struct.pack("<I", n_y)),
        (258, _SHORT, struct.pack("<H", 8)),
        (259, _SHORT, struct.pack("<H", compression)),
        (262, _SHORT, struct.pack("<H", 1)),
        (_STRIP_OFFSETS, _LONG8, bytes(8)),
        (277, _SHORT, struct.pack("<H", 1)),
        (278, _LONG, struct.pack("<I", n_y)),
        (279, _LONG8, struct.pack("<Q", n_bytes)),
        (65001, _UNDEFINED, metadata),
    ]
    if compression == 65002:
        for number, bits in ((65007, 7), (65008, _SUB_BITS), (65009, _SUB_BITS)):
            tags.append((number, _SHORT, struct.pack("<H", bits)))
    return tags


def _directory(
    tags: list[tuple[int, int, bytes]], outside_at: int, data_at: int, following: int, *, last: bool
) -> bytes:
    """A BigTIFF directory; values of more than 8 bytes lie, in order, from ``outside_at`` on."""
    entries = [struct.pack("<Q", len(tags))]
    for number, kind, raw in tags:
        value = struct.pack("<Q", data_at) if number == _STRIP_OFFSETS else raw
        count = len(value) // _TYPE_BYTES[kind]
        if len(value) > 8:
            held, outside_at = struct.pack("<Q", outside_at), outside_at + len(value)
        else:
            held = value.ljust(8, b"\0")
        entries.append(struct.pack("<HHQ", number, kind, count) + held)
    return b"".join(entries) + struct.pack("<Q", 0 if last else following)


def _acquisition_metadata(
    n_frames: int, n_events: int, shape_yx: tuple[int, int], dose: float, pixel_size_angstrom: float
) -> bytes:
    """Metadata of the camera for an exposure, as the XML of tag 65001."""
    n_y, n_x = shape_yx
    items = [
        ("acquisitionID", "simulated", ""),
        ("cameraName", "EF-Falcon", ""),
        ("commercialName", "simulated by cryoloom", ""),
        ("numberOfFrames", str(n_frames), ""),
        ("totalDose", f"{dose * 1e20:.6g}", "e/m^2"),
        ("meanDoseRate", f"{n_events / (n_y * n_x) / max(n_frames, 1) * 248:.6g}", "e/pixel/s"),
        ("sensorImageWidth", str(n_x), "pixel"),
        ("sensorImageHeight", str(n_y), "pixel"),
        ("sensorPixelSize.width", f"{pixel_size_angstrom * 1e-10:.6g}", "m"),
        ("sensorPixelSize.height", f"{pixel_size_angstrom * 1e-10:.6g}", "m"),
        ("exposureTime", f"{n_frames / 248:.6g}", "s"),
    ]
    lines = [
        f'<item name="{name}"' + (f' unit="{unit}"' if unit else "") + f">{escape(value)}</item>"
        for name, value, unit in items
    ]
    return f"<metadata>{''.join(lines)}</metadata>".encode()
