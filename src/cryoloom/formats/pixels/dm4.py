"""DigitalMicrograph files, DM3 and DM4: the tag tree and the image in it.

Numbers of the tree are big-endian, those of the data as the header says. DM4 differs from DM3 by eight-byte
lengths and a length before each tag. Row 0 of the file is the top of the picture; `read_dm_image` gives it
with row 0 at the bottom (conventions.md), as dm2mrc does.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cryoloom.errors import DataUnfitError

__all__ = ["DmArray", "read_dm_image", "read_dm_tags"]

_GROUP, _DATA, _END = 20, 21, 0
_STRUCT, _STRING, _ARRAY = 15, 18, 20
"""Kinds of entries and of data in the tag tree."""
_DTYPES = {
    2: "i2",
    3: "i4",
    4: "u2",
    5: "u4",
    6: "f4",
    7: "f8",
    8: "i1",
    9: "i1",
    10: "u1",
    11: "i8",
    12: "u8",
}
_LARGEST_LITERAL = 4096  # elements; longer arrays stay in the file until requested


@dataclass(frozen=True, slots=True)
class DmArray:
    """An array that was left in the file."""

    offset: int
    dtype: np.dtype[Any]
    length: int


class _Tree:
    """Reads tags from where the file stands."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.version = self.number("i")
        if self.version not in (3, 4):
            raise ValueError(f"version {self.version}")
        self.length = "q" if self.version == 4 else "i"
        self.number(self.length)
        self.order = "<" if self.number("i") == 1 else ">"

    def number(self, code: str) -> int:
        return int(struct.unpack(">" + code, self.file.read(struct.calcsize(">" + code)))[0])

    def group(self) -> dict[str, Any]:
        """Tags of a group by name; nameless ones by their position."""
        self.file.read(2)  # whether it is sorted, whether it is open: of no use to us
        found: dict[str, Any] = {}
        for i in range(self.number(self.length)):
            kind, n_name = self.number("B"), self.number("H")
            name = self.file.read(n_name).decode("latin-1") or str(i)
            if self.version == 4:
                self.number("q")
            if kind == _GROUP:
                found[name] = self.group()
            elif kind == _DATA:
                found[name] = self.data()
            elif kind == _END:
                break
            else:
                raise ValueError(f"tag of kind {kind}")
        return found

    def data(self) -> Any:
        if self.file.read(4) != b"%%%%":
            raise ValueError("tag without its mark")
        info = [self.number(self.length) for _ in range(self.number(self.length))]
        kind = info[0]
        if kind in _DTYPES:
            return self.values(np.dtype(self.order + _DTYPES[kind]), 1)[0].item()
        if kind == _STRING:
            return self.file.read(info[1]).decode("utf-16-le", "replace")
        if kind == _STRUCT:
            return self.values(self.structure(info[1:]), 1)[0].item()
        if kind == _ARRAY and info[1] == _STRUCT:
            return self.array(self.structure(info[2:-1]), info[-1])
        if kind == _ARRAY:
            return self.array(np.dtype(self.order + _DTYPES[info[1]]), info[-1])
        raise ValueError(f"data of kind {kind}")

    def structure(self, info: list[int]) -> np.dtype[Any]:
        """Type of a struct: name length, number of fields, then name length and kind of each."""
        kinds = info[3 : 3 + 2 * info[1] : 2]
        return np.dtype([(f"field_{i}", self.order + _DTYPES[kind]) for i, kind in enumerate(kinds)])

    def array(self, dtype: np.dtype[Any], length: int) -> Any:
        if length <= _LARGEST_LITERAL:
            return self.values(dtype, length)
        left = DmArray(self.file.tell(), dtype, length)
        self.file.seek(length * dtype.itemsize, os.SEEK_CUR)
        return left

    def values(self, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        return np.frombuffer(self.file.read(length * dtype.itemsize), dtype)


def read_dm_tags(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Tag tree as nested dictionaries; raises DataUnfitError if it is not a DM3 or DM4 file."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            return _Tree(file).group()
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist") from None
    except (ValueError, KeyError, IndexError, struct.error) as error:
        raise DataUnfitError(f"{path.name} is not a complete DM file; save it again ({error})") from error


def read_dm_image(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """Last image of a file, ``(y, x)``, row 0 at the bottom; earlier ones are thumbnails."""
    path = Path(path)
    images = list(read_dm_tags(path).get("ImageList", {}).values())
    if not images:
        raise DataUnfitError(f"{path.name} holds no image")
    image = images[-1]["ImageData"]
    shape = tuple(int(n) for n in image["Dimensions"].values())[::-1]
    data = image["Data"]
    if isinstance(data, DmArray):
        with open(path, "rb") as file:
            file.seek(data.offset)
            data = np.frombuffer(file.read(data.length * data.dtype.itemsize), data.dtype)
    if data.size != np.prod(shape):
        raise DataUnfitError(
            f"{path.name} is truncated; save it again",
            got_pixels=data.size,
            expected_pixels=int(np.prod(shape)),
        )
    return np.ascontiguousarray(data.reshape(shape)[..., ::-1, :], dtype=np.float32)
