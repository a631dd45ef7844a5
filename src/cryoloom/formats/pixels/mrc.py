"""MRC files: lazy reading of every mode in use, and writing that leaves nothing half-made under its name.

Format: Cheng et al., J. Struct. Biol. 192 (2015), MRC2014; mode 12 (float16), mode 101 (4 bit) and the flags
behind the IMOD stamp are as IMOD documents them.
"""

from __future__ import annotations

import contextlib
import errno
import math
import operator
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, SupportsIndex, cast

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE
from numpy.typing import ArrayLike, NDArray

from cryoloom.errors import DataUnfitError, TransientError
from cryoloom.formats.pixels.byte_conventions import byte_order_is_swapped, signedness
from cryoloom.formats.pixels.mrc_headers import header_pixel_size_angstrom, section_tilts_deg
from cryoloom.formats.pixels.writeback import begin_writing
from cryoloom.model.pixels import Index

__all__ = ["MrcPixels", "MrcSink", "write_mrc"]

_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1"}
_HEADER_BYTES = 1024
_SAMPLE_BYTES = 1 << 16
"""The header is that of MRC2014; the sample is what byte order and signs are checked with, chosen."""
#: Chosen: rows processed at once, which stay in the processor's cache.
_CACHED_ROWS = 32
_READ_BYTES = 1 << 19
"""Chosen: half a megabyte fits the second-level cache."""
#: Chosen: bytes between requests to the disk: few requests, and little left for the flush at the end.
_WRITTEN_AT_ONCE_BYTES = 32 << 20
_COPIED_AT_ONCE_BYTES = 8 << 20
_BLOCK_BYTES = 512  # of `st_blocks`
_NOT_KNOWN = (0.0, -1.0, -2.0, -1.0)
"""Minimum, maximum, mean and deviation that are not known, as MRC2014 writes them."""
_IMOD_STAMP = 1146047817  # "IMOD" at byte 152; byte 156 then holds flags
_FLAG_SIGNED_BYTES, _FLAG_FOUR_BIT = 1, 16
"""IMOD's flags in its header."""
# Half-width frames (x, y) that SerialEM writes as mode 0 when two 4-bit counts share a byte: K2 and K3,
# super-resolution. No camera has a frame of these sizes.
_FOUR_BIT_IN_DISGUISE = {(3838, 7420), (3710, 7676), (5760, 8184), (4092, 11520)}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the pixels of a file are."""

    offset: int
    shape: tuple[int, int, int]
    stored: np.dtype[Any]
    four_bit: bool
    pixel_size_angstrom: float
    section_tilts_deg: tuple[float, ...] | None = None
    note: str = ""

    @property
    def row_bytes(self) -> int:
        n_x = self.shape[2]
        return (n_x + 1) // 2 if self.four_bit else n_x * self.stored.itemsize

    @property
    def file_bytes(self) -> int:
        return self.offset + self.shape[0] * self.shape[1] * self.row_bytes

    def position(self, i_z: int, i_y: int) -> int:
        return self.offset + (i_z * self.shape[1] + i_y) * self.row_bytes


class MrcPixels:
    """A stack or volume ``(z, y, x)`` in an MRC file, read slice by slice as float32.

    Always three-dimensional, unless ``as_image`` asks for the only section as ``(y, x)``. Nothing stays open
    between reads, so it may be pickled and used from threads. The header's axis order (mapc) is not
    used: too many programs write it wrong.
    """

    def __init__(self, path: str | os.PathLike[str], *, as_image: bool = False) -> None:
        self.path = Path(path)
        self._layout = _read_layout(self.path)
        self._as_image = as_image

    @property
    def shape(self) -> tuple[int, ...]:
        """``(z, y, x)``, or ``(y, x)`` of an image."""
        return self._layout.shape[1:] if self._as_image else self._layout.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values, in native byte order."""
        return self._layout.stored.newbyteorder("=")

    @property
    def pixel_size_angstrom(self) -> float:
        """Pixel size along x; 0 if the header does not contain it."""
        return self._layout.pixel_size_angstrom

    @property
    def note(self) -> str:
        """Why the numbers are not read as the header declares them; "" if they are."""
        return self._layout.note

    @property
    def section_tilts_deg(self) -> tuple[float, ...] | None:
        """Tilt of each section in the extended header (SerialEM, FEI); None if it holds none."""
        return self._layout.section_tilts_deg

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        with _machine_failures("read", self.path), open(self.path, "rb", buffering=0) as file:
            return _read(file.fileno(), self._layout, index, self._as_image, self.path)

    def __repr__(self) -> str:
        return f"MrcPixels({str(self.path)!r}, shape={self.shape}, dtype={self.dtype})"


class MrcSink:
    """An MRC file being made, as float32 or float16; it gets its name when `commit` is called.

    Slices may come in any order; whole rows (``[i]``, ``[:, y0:y1]``) are cheapest. ``kind`` sets the
    header's space group: a tilt series is a "stack", a tomogram a "volume".
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        dtype: Literal["float32", "float16"] = "float32",
        *,
        kind: Literal["stack", "volume"] = "stack",
        onto: Path | None = None,
    ) -> None:
        """``onto``: a file of this layout that is written on; what it holds is noted by `note_section`."""
        self.path = Path(path)
        self.pixel_size_angstrom = float(pixel_size_angstrom)
        self._part = onto or self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}.part")
        self._as_image = len(shape) == 2
        self._kind = kind
        n_z, n_y, n_x = (1, *shape) if self._as_image else shape
        stored = np.dtype(dtype).newbyteorder("<")
        self._layout = _Layout(_HEADER_BYTES, (n_z, n_y, n_x), stored, False, self.pixel_size_angstrom)
        self._fd: int | None = _create(self._part, self._layout.file_bytes, keep=onto is not None)
        self._rows = _RowStatistics(n_z, n_y)
        self._n_bytes_waiting = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """As requested."""
        return self._layout.shape[1:] if self._as_image else self._layout.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""
        return self._layout.stored.newbyteorder("=")

    @staticmethod
    def file_bytes(shape: tuple[int, ...], dtype: Literal["float32", "float16"]) -> int:
        """Length of a file of a shape."""
        return _HEADER_BYTES + math.prod(shape) * np.dtype(dtype).itemsize

    @property
    def is_finite(self) -> bool:
        """Whether everything written until now is finite."""
        return self._rows.is_finite

    def section_extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Lowest and highest stored value of every section, NaN where not all of it is written."""
        return self._rows.section_extremes()

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        return _read(self._open_fd(), self._layout, index, self._as_image, self._part)

    def __setitem__(self, index: Index, values: ArrayLike, /) -> None:
        fd = self._open_fd()
        (zs, ys, xs), kept = _ranges(index, self._layout.shape, self._as_image)
        block_shape = (len(zs), len(ys), len(xs))
        block = np.asarray(values, dtype=np.float32)
        target_shape = tuple(n for n, keep in zip(block_shape, kept, strict=True) if keep)
        if block.shape != target_shape:
            block = np.broadcast_to(block, target_shape)
        block = block.reshape(block_shape)
        if not block.size:
            return
        try:
            for i, i_z in enumerate(zs):
                self._write_rows(fd, i_z, ys, xs, block[i])
        except OSError as error:
            self.discard()  # a full disk gets its space back at once
            raise _machine_failure("write", self.path, error) from error
        self._n_bytes_waiting += block.size * self._layout.stored.itemsize
        if self._n_bytes_waiting >= _WRITTEN_AT_ONCE_BYTES:
            self._n_bytes_waiting = 0
            begin_writing(fd)

    def section_statistics(self, section: int) -> NDArray[np.float32]:
        """Minimum, maximum, mean and variance of every row of a section, ``(4, y)``."""
        return self._rows.of_section(section)

    def note_section(self, section: int, statistics: NDArray[np.float32]) -> None:
        """A section is in the file already; its statistics as `section_statistics` gave them."""
        self._rows.note_section(section, statistics)

    def copy_section(self, section: int, file: Path, place: int, statistics: NDArray[np.float32]) -> None:
        """Take a section as it is stored in another file of this image size and type.

        place : its section there.
        """
        n_bytes = self._layout.shape[1] * self._layout.row_bytes
        with _machine_failures("read", file), open(file, "rb", buffering=0) as source:
            _copy_bytes(
                source.fileno(),
                self._layout.position(place, 0),
                self._open_fd(),
                self._layout.position(section, 0),
                n_bytes,
            )
        self._n_bytes_waiting += n_bytes
        begin_writing(self._open_fd())
        self.note_section(section, statistics)

    def flush(self) -> None:
        """Write a header and flush to disk what is there, without giving the file its name."""
        fd = self._open_fd()
        try:
            _pwrite_all(fd, memoryview(self._header().tobytes()), 0)
            os.fdatasync(fd)
        except OSError as error:
            raise _machine_failure("write", self.path, error) from error

    def close(self) -> None:
        """Write no more, and leave the file as it is, for one that was begun ``onto`` another."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def commit(self) -> MrcPixels:
        """Write the header, flush to disk, and give the file its name."""
        fd = self._open_fd()
        n_missing = self._rows.n_unwritten
        if n_missing:
            self.discard()
            n_rows = self._layout.shape[0] * self._layout.shape[1]
            raise RuntimeError(f"{n_missing} of {n_rows} rows of {self.path.name} were never written")
        try:
            _pwrite_all(fd, memoryview(self._header().tobytes()), 0)
            os.fsync(fd)
            os.close(fd)
            self._fd = None
            os.replace(self._part, self.path)
            self._part.unlink(missing_ok=True)  # two names of one file: renaming has left both
        except OSError as error:
            self.discard()
            raise _machine_failure("write", self.path, error) from error
        return MrcPixels(self.path, as_image=self._as_image)

    def discard(self) -> None:
        """Forget what was written. May be called at any time and again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._part.unlink(missing_ok=True)
        elif not self.path.exists():
            self._part.unlink(missing_ok=True)

    def _open_fd(self) -> int:
        if self._fd is None:
            raise ValueError(f"{self.path.name} is already committed or discarded")
        return self._fd

    def _write_rows(self, fd: int, i_z: int, ys: range, xs: range, plane: NDArray[np.float32]) -> None:
        """Write one section's rows; rows written in part are read, changed and written back."""
        low, high = min(ys[0], ys[-1]), max(ys[0], ys[-1]) + 1
        whole = ys.step == 1 and xs == range(self._layout.shape[2])
        rows = plane
        if not whole:
            rows = _read_rows(fd, self._layout, i_z, low, high, self._part)
            y_index = np.asarray(ys) - low
            rows[np.ix_(y_index, np.asarray(xs))] = plane
        for start in range(0, high - low, _CACHED_ROWS):
            self._write_block(fd, i_z, low + start, np.ascontiguousarray(rows[start : start + _CACHED_ROWS]))
        self._rows.note_written(i_z, range(low, high) if whole else ys)

    def _write_block(self, fd: int, i_z: int, first: int, rows: NDArray[np.float32]) -> None:
        """Write some whole rows of a section; they stay in the processor's cache meanwhile."""
        if self._layout.stored.itemsize == 2:
            stored: NDArray[Any] = _narrowed(rows)
            values = np.empty(rows.shape, np.float32)
            _widen(stored.view(np.uint8).reshape(-1), values)
        else:
            stored = values = rows
        finite = self._rows.update(i_z, first, values)
        if not finite and stored.dtype.itemsize == 2 and np.isfinite(rows).all():
            raise DataUnfitError(
                f"values of {self.path.name} do not fit 16-bit floats; use float32 output",
                largest=float(np.abs(rows).max()),
                allowed=65504,
            )
        _pwrite_all(fd, stored.data.cast("B"), self._layout.position(i_z, first))

    def _header(self) -> NDArray[np.void]:
        n_z, n_y, n_x = self._layout.shape
        header = np.zeros((), dtype=HEADER_DTYPE.newbyteorder("<"))
        header["nx"], header["ny"], header["nz"] = n_x, n_y, n_z
        header["mode"] = 12 if self._layout.stored.itemsize == 2 else 2
        is_volume = self._kind == "volume"
        m_z = n_z if is_volume else 1
        header["mx"], header["my"], header["mz"] = n_x, n_y, m_z
        header["cella"] = tuple(n * self.pixel_size_angstrom for n in (n_x, n_y, m_z))
        header["cellb"] = (90.0, 90.0, 90.0)
        if is_volume:  # where the first voxel is, as MRC2014 has it: our positions count from index n // 2
            header["origin"] = tuple(-(n // 2) * self.pixel_size_angstrom for n in (n_x, n_y, n_z))
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        header["dmin"], header["dmax"], header["dmean"], header["rms"] = self._rows.total()
        header["ispg"] = 1 if is_volume else 0
        header["nversion"] = 20141
        header["map"] = b"MAP "
        header["machst"] = (0x44, 0x44, 0, 0)
        header["nlabl"] = 1
        header["label"][0] = b"cryoloom"
        return header


def write_mrc(
    path: str | os.PathLike[str],
    array: ArrayLike,
    pixel_size_angstrom: float,
    *,
    dtype: Literal["float32", "float16"] = "float32",
    kind: Literal["stack", "volume"] = "stack",
) -> MrcPixels:
    """Write an array ``(y, x)`` or ``(z, y, x)`` as an MRC file, all at once or not at all."""
    values = np.asarray(array)
    sink = MrcSink(path, values.shape, pixel_size_angstrom, dtype, kind=kind)
    try:
        if values.ndim == 2:
            sink[...] = values
        for i_z in range(values.shape[0] if values.ndim == 3 else 0):
            sink[i_z] = values[i_z]
        return sink.commit()
    except BaseException:
        sink.discard()
        raise


class _RowStatistics:
    """Minimum, maximum, mean and variance of every row, so that a slice may be written twice."""

    def __init__(self, n_z: int, n_y: int) -> None:
        self._values = np.full((4, n_z, n_y), np.nan, dtype=np.float32)
        self._written = np.zeros((n_z, n_y), dtype=bool)
        self.is_finite = True

    @property
    def n_unwritten(self) -> int:
        return int(self._written.size - np.count_nonzero(self._written))

    def section_extremes(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self._values[0].min(axis=1), self._values[1].max(axis=1)

    def update(self, i_z: int, first: int, rows: NDArray[np.float32]) -> bool:
        """Note some rows as they are stored; whether all of them is finite."""
        # Slow to import, and what only looks at a project writes no pixels.
        import torch

        from cryoloom.kernels.rows.row_moments import row_moments
        from cryoloom.kernels.tensors import tensor_over

        found = np.empty((4, len(rows)), np.float32)
        np.min(rows, axis=1, out=found[0])
        np.max(rows, axis=1, out=found[1])
        row_moments(tensor_over(rows), torch.from_numpy(found[2:]))
        self._values[:, i_z, first : first + len(rows)] = found
        finite = bool(np.isfinite(found[:2]).all())
        self.is_finite &= finite
        return finite

    def note_written(self, i_z: int, ys: range) -> None:
        """Note which rows of a section the caller has given."""
        self._written[i_z, list(ys)] = True

    def of_section(self, i_z: int) -> NDArray[np.float32]:
        return np.array(self._values[:, i_z])

    def note_section(self, i_z: int, statistics: NDArray[np.float32]) -> None:
        self._values[:, i_z] = statistics
        self._written[i_z] = True
        self.is_finite &= bool(np.isfinite(statistics[:2]).all())

    def total(self) -> tuple[float, float, float, float]:
        if self.n_unwritten:
            return _NOT_KNOWN
        low, high, mean, variance = self._values
        rms = float(np.sqrt(variance.mean(dtype=np.float64) + mean.var(dtype=np.float64)))
        return float(low.min()), float(high.max()), float(mean.mean(dtype=np.float64)), rms


def _read_layout(path: Path) -> _Layout:
    """Parse the header; raises DataUnfitError if it is not an MRC file or is truncated."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_HEADER_BYTES)
            header = _header_in_its_byte_order(raw, path)
            extended = file.read(max(0, int(header["nsymbt"])))
            sample = np.frombuffer(file.read(_SAMPLE_BYTES), np.uint8)
            got_bytes = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist") from None
    except OSError as error:
        raise _machine_failure("read", path, error) from error
    mode, order = int(header["mode"]), header.dtype["mode"].byteorder
    n_x, n_y, n_z = (int(header[n]) for n in ("nx", "ny", "nz"))
    stored = np.dtype(_MODES[mode]).newbyteorder(order)
    stamp, flags = (int(v) for v in np.frombuffer(raw, f"{order}i4", 2, 152))
    flags = flags if stamp == _IMOD_STAMP else _FLAG_SIGNED_BYTES
    four_bit = mode == 101
    if mode == 0:
        if stamp == _IMOD_STAMP and not flags & _FLAG_SIGNED_BYTES:
            stored = np.dtype("u1")
        if flags & _FLAG_FOUR_BIT or (n_x, n_y) in _FOUR_BIT_IN_DISGUISE:
            four_bit, n_x, stored = True, 2 * n_x, np.dtype("u1")
    note = ""
    if not four_bit:
        stored, note = _stored_as_the_sample_says(stored, sample)
    pixel_size = header_pixel_size_angstrom(header, extended)
    if four_bit and mode == 0 and int(header["mx"]) * 2 == n_x:
        pixel_size /= 2  # the cell spans the frame, the disguise counts half its pixels
    tilts = section_tilts_deg(header, raw, extended, n_z)
    layout = _Layout(
        _HEADER_BYTES + len(extended), (n_z, n_y, n_x), stored, four_bit, pixel_size, tilts, note
    )
    if got_bytes < layout.file_bytes:
        raise DataUnfitError(
            f"{path.name} is truncated: its header promises {n_z} sections of {n_x} x {n_y} pixels; "
            "copy or write the file again",
            got_bytes=got_bytes,
            expected_bytes=layout.file_bytes,
        )
    return layout


def _stored_as_the_sample_says(stored: np.dtype[Any], sample: NDArray[np.uint8]) -> tuple[np.dtype[Any], str]:
    """The type of the numbers by the header, corrected where the numbers themselves refute it."""
    whole = sample[: len(sample) // stored.itemsize * stored.itemsize]
    if byte_order_is_swapped(stored, whole):
        return stored.newbyteorder(), "its numbers have the other byte order than its header"
    return signedness(stored, whole)


def _header_in_its_byte_order(raw: bytes, path: Path) -> NDArray[np.void]:
    """Try both byte orders and believe the one that makes sense; the machine stamp is often wrong."""
    if len(raw) < _HEADER_BYTES:
        raise DataUnfitError(
            f"{path.name} is too short to be an MRC file", got_bytes=len(raw), expected_bytes=_HEADER_BYTES
        )
    for order in "<>":
        header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order))[0]
        sizes = [int(header[n]) for n in ("nx", "ny", "nz")]
        if all(0 < n < 1 << 20 for n in sizes) and int(header["mode"]) in _MODES and header["nsymbt"] >= 0:
            return header
    little = np.frombuffer(raw, HEADER_DTYPE.newbyteorder("<"))[0]
    mode, n_x, n_y, n_z = (int(little[name]) for name in ("mode", "nx", "ny", "nz"))
    if mode in _MODES and min(n_x, n_y, n_z) >= 0:
        raise DataUnfitError(
            f"the header of {path.name} gives images of {n_x} x {n_y} pixels and {n_z} sections; expected at "
            "least 1 of each. The program that wrote it did not finish: write or copy it again"
        )
    raise DataUnfitError(
        f"{path.name} is not an MRC file that can be read: modes {', '.join(map(str, _MODES))} are",
        mode=mode,
        nx=n_x,
        ny=n_y,
        nz=n_z,
    )


def _ranges(
    index: Index, shape: tuple[int, int, int], as_image: bool
) -> tuple[list[range], tuple[bool, ...]]:
    """Index as one range per axis of the file, and which axes stay in the result."""
    parts = index if isinstance(index, tuple) else (index,)
    visible = shape[1:] if as_image else shape
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        fill = len(visible) - (len(parts) - 1)
        parts = parts[:at] + (slice(None),) * fill + parts[at + 1 :]
    parts = parts + (slice(None),) * (len(visible) - len(parts))
    if len(parts) != len(visible):
        raise IndexError(f"{len(parts)} indices for {len(visible)} dimensions")
    found, kept = [], []
    for part, n in zip(parts, visible, strict=True):
        if isinstance(part, slice):
            found.append(range(*part.indices(n)))
        elif part is Ellipsis:
            raise IndexError("an index can have only one ellipsis")
        else:
            i = operator.index(cast(SupportsIndex, part))
            if not -n <= i < n:
                raise IndexError(f"index {i} is out of bounds for size {n}")
            found.append(range(i % n, i % n + 1))
        kept.append(isinstance(part, slice))
    return ([range(1), *found], (False, *kept)) if as_image else (found, tuple(kept))


def _read(fd: int, layout: _Layout, index: Index, as_image: bool, path: Path) -> NDArray[np.float32]:
    (zs, ys, xs), kept = _ranges(index, layout.shape, as_image)
    out = np.empty((len(zs), len(ys), len(xs)), dtype=np.float32)
    if out.size:
        low, high = min(ys[0], ys[-1]), max(ys[0], ys[-1]) + 1
        rows_of = slice(ys[0] - low, None if ys[-1] - low + ys.step < 0 else ys[-1] - low + ys.step, ys.step)
        columns_of = slice(xs[0], None if xs[-1] + xs.step < 0 else xs[-1] + xs.step, xs.step)
        is_whole = out.shape[1:] == (high - low, layout.shape[2]) and ys.step == xs.step == 1
        for i, i_z in enumerate(zs):
            if is_whole:
                _fill_rows(fd, layout, i_z, low, path, out[i])
            else:
                out[i] = _read_rows(fd, layout, i_z, low, high, path)[rows_of, columns_of]
    return out.reshape([n for n, keep in zip(out.shape, kept, strict=True) if keep])


def _read_rows(fd: int, layout: _Layout, i_z: int, low: int, high: int, path: Path) -> NDArray[np.float32]:
    """Rows ``low`` to ``high - 1`` of a section, ``(y, x)``."""
    rows = np.empty((high - low, layout.shape[2]), dtype=np.float32)
    _fill_rows(fd, layout, i_z, low, path, rows)
    return rows


def _fill_rows(fd: int, layout: _Layout, i_z: int, low: int, path: Path, rows: NDArray[np.float32]) -> None:
    """Read a section's rows from ``low`` on, some at a time, which stay in the cache until converted."""
    n_at_once = max(1, _READ_BYTES // layout.row_bytes)
    raw = np.empty(min(n_at_once, len(rows)) * layout.row_bytes, dtype=np.uint8)
    for start in range(0, len(rows), n_at_once):
        some = rows[start : start + n_at_once]
        stored = raw[: len(some) * layout.row_bytes]
        view, position = stored.data, layout.position(i_z, low + start)
        while view:
            n = os.preadv(fd, [view], position)
            if n == 0:
                raise DataUnfitError(f"{path.name} became shorter while it was read; write it again")
            view, position = view[n:], position + n
        if layout.four_bit:
            packed = stored.reshape(len(some), -1)
            some[:, 0::2] = packed[:, : (layout.shape[2] + 1) // 2] & 15  # the first pixel: the low bits
            some[:, 1::2] = packed[:, : layout.shape[2] // 2] >> 4
        elif layout.stored == np.float16 and some.flags.c_contiguous:
            _widen(stored, some)
        else:
            some[...] = stored.view(layout.stored).reshape(some.shape)


def _widen(stored: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
    # The numba twin: a viewer reads pixels without torch.
    from cryoloom.kernels.images.half_floats_cpu import floats_from_halves_numba

    floats_from_halves_numba(stored.view(np.uint16), values.reshape(-1))


def _narrowed(values: NDArray[np.float32]) -> NDArray[np.float16]:
    import torch

    from cryoloom.kernels.images.half_floats import halves_from_floats
    from cryoloom.kernels.tensors import tensor_over

    halves = np.empty(values.shape, np.float16)
    halves_from_floats(tensor_over(values.reshape(-1)), torch.from_numpy(halves.reshape(-1)))
    return halves


def _create(part: Path, n_bytes: int, *, keep: bool) -> int:
    """Open a file of a size, empty or with what it holds."""
    try:
        free = shutil.disk_usage(part.parent).free
        had = part.stat().st_blocks * _BLOCK_BYTES if keep and part.exists() else 0
        if free < n_bytes - had:
            raise TransientError(
                f"the disk has no room for {_final_name(part)} in {part.parent}; free some space and resume",
                free_bytes=free,
                needed_bytes=n_bytes - had,
            )
        fd = os.open(part, os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o666)
        os.ftruncate(fd, n_bytes)
    except OSError as error:
        raise _machine_failure("write", part.with_name(_final_name(part)), error) from error
    return fd


def _final_name(part: Path) -> str:
    """Name of the file that a part becomes: ``.NAME.UNIQUE.part``."""
    return part.name[1:].rsplit(".", 2)[0]


def _pwrite_all(fd: int, view: memoryview, position: int) -> None:
    while view:
        n = os.pwrite(fd, view, position)
        view, position = view[n:], position + n


def _copy_bytes(source: int, position: int, target: int, place: int, n_bytes: int) -> None:
    """Copy a part of a file into another, within the system where it can."""
    while n_bytes:
        n = 0
        with contextlib.suppress(OSError, AttributeError):  # other file systems, other systems
            n = os.copy_file_range(source, target, n_bytes, position, place)
        if n == 0:
            data = os.pread(source, min(n_bytes, _COPIED_AT_ONCE_BYTES), position)
            if not data:
                raise DataUnfitError("a stack became shorter while it was read; start again")
            n = len(data)
            _pwrite_all(target, memoryview(data), place)
        position, place, n_bytes = position + n, place + n, n_bytes - n


def _machine_failure(what: str, path: Path, error: OSError) -> Exception:
    """Say in a sentence what the machine did: full, read-only, or something else."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"the disk is full: cannot {what} {path}; free some space and resume")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return TransientError(f"no permission to {what} {path}; make its folder accessible and resume")
    return TransientError(f"cannot {what} {path}: {error.strerror}; remove the cause, then resume")


@contextmanager
def _machine_failures(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataUnfitError(f"{path} does not exist any more") from None
    except OSError as error:
        raise _machine_failure(what, path, error) from error
