"""The directories of a TIFF or BigTIFF file: the information a movie reader needs before it reads pixels.

TIFF Revision 6.0 (1992), section 2; BigTIFF differs by eight-byte counts and offsets. Libraries that read
pixels follow the chain of directories and stop without an error if it is truncated; a truncated file is
detected here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cryoloom.errors import DataUnfitError, TransientError

__all__ = ["TiffDirectory", "byte_order", "read_directories"]

_WIDTH, _LENGTH, _COMPRESSION, _SUBFILE = 256, 257, 259, 254
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325
"""Tags of TIFF 6.0."""
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}


@dataclass(frozen=True, slots=True)
class TiffDirectory:
    """Integer tags of one page."""

    tags: dict[int, tuple[int, ...]]

    def get(self, tag: int, default: int = 0) -> int:
        """First value of a tag."""
        return self.tags.get(tag, (default,))[0]

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Image length and width."""
        return self.get(_LENGTH), self.get(_WIDTH)

    @property
    def compression(self) -> int:
        """Compression scheme; 1 is none."""
        return self.get(_COMPRESSION, 1)

    @property
    def is_reduced(self) -> bool:
        """Whether the page is a thumbnail of another."""
        return bool(self.get(_SUBFILE) & 1)

    @property
    def segments(self) -> list[tuple[int, int]]:
        """Offset and length in bytes of every strip or tile, in the order of the page."""
        offsets = self.tags.get(_STRIP_OFFSETS) or self.tags.get(_TILE_OFFSETS, ())
        n_bytes = self.tags.get(_STRIP_BYTES) or self.tags.get(_TILE_BYTES, ())
        return list(zip(offsets, n_bytes, strict=False))


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Sizes of the fields of a directory: classic TIFF or BigTIFF, in either byte order."""

    order: str
    count: str
    offset: str
    first: int

    @property
    def entry_bytes(self) -> int:
        return 4 + 2 * struct.calcsize("=" + self.offset)

    def unpack(self, code: str, raw: bytes) -> int:
        return int(struct.unpack(self.order + code, raw)[0])

    def size(self, code: str) -> int:
        return struct.calcsize("=" + code)


def read_directories(path: Path) -> list[TiffDirectory]:
    """All pages of a file, in order; raises DataUnfitError where it is missing, cut short or no TIFF file."""
    try:
        with open(path, "rb") as file:
            file_bytes = file.seek(0, 2)
            dialect = _read_dialect(file, path)
            directories = _walk(file, dialect, path, file_bytes)
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist") from None
    except OSError as error:
        raise TransientError(f"cannot read {path}: {error.strerror}; repair it, then resume") from error
    ends = [offset + n for directory in directories for offset, n in directory.segments]
    if ends and max(ends) > file_bytes:
        raise _truncated(path, len(directories), file_bytes, max(ends))
    return directories


def byte_order(path: Path) -> str:
    """Tell the byte order of a TIFF file, ``<`` or ``>``."""
    with open(path, "rb") as file:
        return _read_dialect(file, path).order


def _read_dialect(file: BinaryIO, path: Path) -> _Dialect:
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order and len(head) >= 8 and struct.unpack(order + "H", head[2:4])[0] == 42:
        return _Dialect(order, "H", "I", struct.unpack(order + "I", head[4:8])[0])
    if order and len(head) == 16 and struct.unpack(order + "H", head[2:4])[0] == 43:
        return _Dialect(order, "Q", "Q", struct.unpack(order + "Q", head[8:16])[0])
    raise DataUnfitError(f"{path.name} is not a TIFF file, despite its name", first_bytes=head[:4].hex())


def _walk(file: BinaryIO, dialect: _Dialect, path: Path, file_bytes: int) -> list[TiffDirectory]:
    """Follow the chain of directories to its end, which a cut file does not have."""
    found: list[TiffDirectory] = []
    offset, seen = dialect.first, set[int]()
    while offset:
        if offset in seen:
            raise DataUnfitError(
                f"{path.name} is damaged: its directories run in a circle at page {len(found)}"
            )
        seen.add(offset)
        file.seek(offset)
        raw = file.read(dialect.size(dialect.count))
        if len(raw) < dialect.size(dialect.count):
            raise _truncated(path, len(found), file_bytes, offset + dialect.size(dialect.count))
        n_entries = dialect.unpack(dialect.count, raw)
        if n_entries == 0:  # room that a copying program took before it filled it
            raise _truncated(path, len(found), offset, file_bytes)
        expected = n_entries * dialect.entry_bytes + dialect.size(dialect.offset)
        block = file.read(expected) if n_entries < 4096 else b""
        if len(block) < expected:
            raise _truncated(path, len(found), file_bytes, offset + len(raw) + expected)
        found.append(TiffDirectory(_read_tags(file, dialect, block, n_entries, path, file_bytes)))
        offset = dialect.unpack(dialect.offset, block[-dialect.size(dialect.offset) :])
    return found


def _read_tags(
    file: BinaryIO, dialect: _Dialect, block: bytes, n_entries: int, path: Path, file_bytes: int
) -> dict[int, tuple[int, ...]]:
    tags: dict[int, tuple[int, ...]] = {}
    inline = dialect.size(dialect.offset)
    for i in range(n_entries):
        entry = block[i * dialect.entry_bytes : (i + 1) * dialect.entry_bytes]
        tag, kind, count = struct.unpack(f"{dialect.order}HH{dialect.offset}", entry[:-inline])
        if kind not in _INTEGERS or tag > 65100:
            continue
        dtype = np.dtype(dialect.order + _INTEGERS[kind])
        n_bytes, value = dtype.itemsize * count, entry[-inline:]
        if n_bytes > inline:
            position = dialect.unpack(dialect.offset, value)
            if position + n_bytes > file_bytes:
                raise _truncated(path, 0, file_bytes, position + n_bytes)
            file.seek(position)
            value = file.read(n_bytes)
        tags[tag] = tuple(np.frombuffer(value[:n_bytes], dtype).tolist())
    return tags


def _truncated(path: Path, n_pages: int, got_bytes: int, expected_bytes: int) -> DataUnfitError:
    return DataUnfitError(
        f"{path.name} is truncated; copy it again from the camera's disk",
        complete_pages=n_pages,
        got_bytes=got_bytes,
        expected_bytes_at_least=expected_bytes,
    )
