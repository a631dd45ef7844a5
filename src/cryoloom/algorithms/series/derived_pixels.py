"""Pixels that are computed when they are read, from pixels in files: nothing is stored twice (decision 20).

Each is a frozen value that holds its sources and parameters, and is stored as such. The pixels depend on
these alone, so they are identical on every machine, to the bit.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from cryoloom.algorithms.series.dose import dose_weights, mean_dose_weights
from cryoloom.model import Pixels, Table
from cryoloom.model.pixels import Index

__all__ = [
    "DERIVED",
    "Difference",
    "DoseWeighted",
    "MeanOfHalves",
    "Replaced",
    "Turned",
    "centre_of",
    "files_of",
    "is_half_precision",
    "numbers_only",
    "radial_weights",
    "reading_bytes",
    "reopened",
]

Image = NDArray[np.float32]
_CACHED_SECTIONS = 2
"""Chosen: a section is often read in several parts, and beside the one before."""
_TABLE_STEPS = 2048
"""Weights are so smooth in frequency that this many are exact to 1e-6 with straight lines between."""


@dataclass(frozen=True)
class _Derived:
    """What all have in common: shape and type, and sections made one at a time, the last two kept."""

    made_from: ClassVar[tuple[str, ...]]
    """Names of the fields that are pixels."""

    @property
    def sources(self) -> tuple[Pixels, ...]:
        """Pixels that these are made from."""
        return tuple(getattr(self, name) for name in self.made_from)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(tilt, y, x)``."""
        return self.sources[0].shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Computed values are float32."""
        return np.dtype(np.float32)

    def __getitem__(self, index: Index, /) -> Image:
        parts = index if isinstance(index, tuple) else (index,)
        if parts[0] is Ellipsis:
            parts = (slice(None), *parts)
        first, inside = parts[0], parts[1:]
        if not isinstance(first, slice):
            # A copy: readers work in what they read.
            return np.array(self._sections.get(range(self.shape[0])[cast(int, first)])[inside or ...])
        made = [self._sections.get(i)[inside or ...] for i in range(*first.indices(self.shape[0]))]
        return np.stack(made) if made else np.empty((0, *self.shape[1:]), np.float32)[(slice(None), *inside)]

    @functools.cached_property
    def _sections(self) -> _SectionCache:
        return _SectionCache(self._section)

    def _section(self, section: int) -> Image:
        raise NotImplementedError


@dataclass(frozen=True)
class Difference(_Derived):
    """A sum less one of its two parts: the odd images, from all and the even ones."""

    made_from = ("whole", "part")
    whole: Pixels
    part: Pixels

    def __getitem__(self, index: Index, /) -> Image:
        return self.whole[index] - self.part[index]


@dataclass(frozen=True)
class DoseWeighted(_Derived):
    """Images weighted by what radiation left of every frequency (`dose`)."""

    made_from = ("images",)
    images: Pixels
    doses_per_angstrom2: tuple[tuple[float, float] | None, ...]
    """Dose at the start and at the end of each section; None for a section that belongs to no tilt."""
    dose_point: Literal["mean", "end"]
    voltage_kv: float
    pixel_size_angstrom: float

    def weights(self, section: int, frequency_per_angstrom: NDArray[np.float64]) -> NDArray[np.float64]:
        """Amplitudes left in a section."""
        doses = self.doses_per_angstrom2[section]
        if doses is None:
            return np.ones_like(frequency_per_angstrom)
        if self.dose_point == "end":
            return dose_weights(frequency_per_angstrom, doses[1], self.voltage_kv)
        return mean_dose_weights(frequency_per_angstrom, *doses, self.voltage_kv)

    def table(self, section: int) -> NDArray[np.float32]:
        """Amplitudes left in a section, at even steps from 0 to ``sqrt(0.5)`` cycles per pixel."""
        frequency = np.linspace(0.0, 0.5**0.5, _TABLE_STEPS) / self.pixel_size_angstrom
        return self.weights(section, frequency).astype(np.float32)

    def _section(self, section: int) -> Image:
        # Slow to import, and what only looks at a project reads no pixels.
        from cryoloom.algorithms.images.scratch_buffers import ScratchBuffers
        from cryoloom.algorithms.series.radial_weighting import weighted_by_frequency

        table = self.table(section)
        out = np.empty(self.shape[1:], np.float32)
        scratch = ScratchBuffers()
        weighted_by_frequency(lambda start, stop: self.images[section, start:stop], table, out, scratch)
        return out


@dataclass(frozen=True)
class Replaced(_Derived):
    """Images in which single pixels have values of others nearby: X-ray hits, and pixels without a number."""

    made_from = ("images",)
    images: Pixels
    replaced: Table
    """Columns section, target and source: which pixel of a section, counted by rows, takes whose value."""

    @functools.cached_property
    def _moves(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        columns = self.replaced.read("section", "target", "source")
        order = np.argsort(columns["section"], kind="stable")
        return columns["section"][order], columns["target"][order], columns["source"][order]

    def _section(self, section: int) -> Image:
        sections, target, source = self._moves
        inside = slice(*np.searchsorted(sections, [section, section + 1]))
        values = np.array(numbers_only(self.images[section])[0])
        values.ravel()[target[inside]] = values.ravel()[source[inside]]
        return values


@dataclass(frozen=True)
class MeanOfHalves(_Derived):
    """The mean of two halves of a volume, where a program wrote these alone."""

    made_from = ("even", "odd")
    even: Pixels
    odd: Pixels

    def __getitem__(self, index: Index, /) -> Image:
        return np.float32(0.5) * (self.even[index] + self.odd[index])


@dataclass(frozen=True)
class Turned(_Derived):
    """A volume ``(z, y, x)`` whose file has its axes in another order, or runs down along z."""

    made_from = ("stored",)
    stored: Pixels
    sections_along_y: bool
    """Whether the file is ``(y, z, x)``, as IMOD's tilt writes it."""
    mirrored_z: bool
    """Whether z of the file runs against z of the volume."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(z, y, x)``."""
        first, second, n_x = self.stored.shape
        return (second, first, n_x) if self.sections_along_y else (first, second, n_x)

    def __getitem__(self, index: Index, /) -> Image:
        parts = index if isinstance(index, tuple) else (index,)
        if Ellipsis in parts:
            before = parts.index(Ellipsis)
            missing = (slice(None),) * (3 - (len(parts) - 1))
            parts = parts[:before] + missing + parts[before + 1 :]
        z, y, x = parts + (slice(None),) * (3 - len(parts))
        n_z = self.shape[0]
        if self.mirrored_z:
            z = _mirrored(z, n_z)
        if not self.sections_along_y:
            return np.ascontiguousarray(self.stored[z, y, x])
        found = self.stored[y, z, x]
        keeps_both = isinstance(y, slice) and isinstance(z, slice)
        return np.ascontiguousarray(found.swapaxes(0, 1) if keeps_both else found)


def _mirrored(index: int | slice | EllipsisType, n: int) -> int | slice:
    """Where the entries of an axis of length ``n`` are if it is read from its end."""
    if isinstance(index, slice):
        places = range(n)[index]
        first, last, step = n - 1 - places.start, n - 1 - places.stop, -places.step
        return slice(first, last if last >= 0 else None, step) if len(places) else slice(0, 0)
    return n - 1 - range(n)[cast(int, index)]


DERIVED: tuple[type[_Derived], ...] = (Difference, DoseWeighted, Replaced, MeanOfHalves, Turned)
"""All there are: what a project may hold."""


@dataclass(frozen=True)
class _Window(_Derived):
    """A part of every section. It is not stored."""

    made_from = ("images",)
    images: Pixels
    rows: range
    columns: range

    @property
    def shape(self) -> tuple[int, ...]:
        """``(tilt, y, x)``."""
        return self.images.shape[0], len(self.rows), len(self.columns)

    def _section(self, section: int) -> Image:
        y, x = self.rows, self.columns
        return self.images[section, y.start : y.stop, x.start : x.stop]


def centre_of(pixels: Pixels, shape_yx: tuple[int, int]) -> Pixels:
    """The middle of every section, about the same centre ``n // 2``; the whole where it is smaller.

    Only that part is read, and computed, where the way allows it.
    """
    if isinstance(pixels, Difference):
        return Difference(centre_of(pixels.whole, shape_yx), centre_of(pixels.part, shape_yx))
    if isinstance(pixels, DoseWeighted):
        return dataclasses.replace(pixels, images=centre_of(pixels.images, shape_yx))
    cuts = []
    for n, wanted in zip(pixels.shape[1:], shape_yx, strict=True):
        kept = min(wanted, n)
        first = n // 2 - kept // 2
        cuts.append(range(first, first + kept))
    return _Window(pixels, *cuts)


def radial_weights(pixels: Pixels, section: int) -> tuple[Pixels, NDArray[np.float32] | None]:
    """Source of images that are weighted by length of frequency, and the weights; None if there are none.

    The weights, at most 1 and 1 at frequency 0, are as `DoseWeighted.table` gives them.
    """
    weights: NDArray[np.float32] | None = None
    while isinstance(pixels, DoseWeighted):
        table = pixels.table(section)
        weights, pixels = table if weights is None else weights * table, pixels.images
    return pixels, weights


class _SectionCache:
    """The sections made last. A section that two threads request is made once."""

    def __init__(self, make: Callable[[int], Image]) -> None:
        self._make = make
        self._made: OrderedDict[int, Image] = OrderedDict()
        self._lock = threading.Lock()
        self._of_section: dict[int, threading.Lock] = {}

    def get(self, section: int) -> Image:
        """A section, to be read only."""
        with self._lock:
            making = self._of_section.setdefault(section, threading.Lock())
        with making:
            with self._lock:
                found = self._made.get(section)
            if found is None:
                found = self._make(section)
                found.setflags(write=False)  # nobody may change what others read
                with self._lock:
                    self._made[section] = found
                    while len(self._made) > _CACHED_SECTIONS:
                        self._made.popitem(last=False)
            return found


def numbers_only(pixels: Image) -> tuple[Image, NDArray[np.bool_]]:
    """An image whose pixels that are no numbers are its median, and where these were."""
    image = np.asarray(pixels, dtype=np.float32)
    if np.isfinite(image.sum(dtype=np.float64)):
        return image, np.zeros(image.shape, dtype=bool)
    bad = ~np.isfinite(image)
    image = image.copy()
    image[bad] = np.median(image[~bad]) if not bad.all() else 0.0
    return image, bad


def files_of(pixels: object) -> tuple[Path, ...]:
    """Files that pixels are read from, each once; none where some are in memory alone."""
    if isinstance(pixels, _Derived):
        found = [files_of(source) for source in pixels.sources]
        return tuple(dict.fromkeys(path for paths in found for path in paths)) if all(found) else ()
    path = getattr(pixels, "path", None)
    return (path,) if isinstance(path, Path) else ()


def is_half_precision(pixels: Pixels) -> bool:
    """Whether pixels are stored as 16-bit floats, or made from such alone."""
    if isinstance(pixels, _Derived):
        return all(is_half_precision(source) for source in pixels.sources)
    return pixels.dtype == np.float16


def reopened(pixels: Pixels, open_pixels: Callable[[Path], Pixels]) -> Pixels:
    """The same pixels with their files opened again."""
    if not isinstance(pixels, _Derived):
        path = getattr(pixels, "path", None)
        return open_pixels(path) if isinstance(path, Path) else pixels
    opened: dict[str, Any] = {n: reopened(getattr(pixels, n), open_pixels) for n in pixels.made_from}
    return dataclasses.replace(pixels, **opened)


def reading_bytes(pixels: Pixels) -> int:
    """Memory needed to read sections one after the other, without the sections themselves.

    0 for pixels in a file.
    """
    if not isinstance(pixels, _Derived):
        return 0
    image = 4 * int(np.prod(pixels.shape[1:]))
    own = 0 if isinstance(pixels, Difference | MeanOfHalves | Turned) else (_CACHED_SECTIONS + 2) * image
    return own + sum(reading_bytes(source) for source in pixels.sources)
