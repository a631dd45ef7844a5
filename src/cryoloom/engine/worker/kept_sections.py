"""Images of a growing series, written once, at their places in the stack of the complete series.

``cache/STEP/ITEM/ROLE.mrc`` is a stack with a place for every expected tilt. When an image is on the disk,
``ROLE.sections/PLACE.npz`` is written: the key of the data and parameters that determine the image, and the
statistics of its rows, which the checks of a stack need. When the item is complete, the file gets a hard link
in the item's folder and becomes the result; only its header remains to be written. Images that are not at
their final places (because more tilts arrived than expected, or other ones) are copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cryoloom.engine.worker.durable_files import write_durably
from cryoloom.engine.worker.gates import GatedSink
from cryoloom.errors import DataUnfitError
from cryoloom.formats.pixels.mrc import MrcPixels, MrcSink
from cryoloom.model.pixels import Index

__all__ = ["GrowingSink", "KeptSections", "KeyedSink", "places_of"]

DType = Literal["float32", "float16"]

FEW_SECTIONS = 3
"""Chosen: up to this many images are computed again if their places turn out to be wrong, which is quick
at the beginning of a series; more are kept and copied when the item is complete."""


@dataclass(frozen=True, slots=True)
class KeptSection:
    """An image on the disk: its key, and the statistics of its rows as in `MrcSink`."""

    key: str
    statistics: NDArray[np.float32]


class KeptSections:
    """The stack of one role of a growing item."""

    def __init__(self, folder: Path, role: str) -> None:
        self.path = folder / f"{role}.mrc"
        self._notes = folder / f"{role}.sections"

    def found(self, shape_yx: tuple[int, ...], dtype: DType) -> dict[int, KeptSection]:
        """Images on the disk, by place; empty if they have another size or type."""
        try:
            pixels = MrcPixels(self.path)
        except DataUnfitError:  # no file yet, or a truncated one
            return {}
        if pixels.shape[1:] != tuple(shape_yx) or pixels.dtype != np.dtype(dtype):
            return {}
        kept = {}
        for note in self._notes.glob("*.npz"):
            with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                with np.load(note, allow_pickle=False) as stored:
                    section = KeptSection(str(stored["key"]), stored["statistics"])
                if section.statistics.shape == (4, shape_yx[0]) and int(note.stem) < pixels.shape[0]:
                    kept[int(note.stem)] = section
        return kept

    def note(self, place: int, section: KeptSection) -> None:
        """Record that the image of a place is on the disk."""
        key, statistics = np.array(section.key), section.statistics
        write_durably(
            self._notes / f"{place}.npz",
            lambda file: np.savez(file, allow_pickle=False, key=key, statistics=statistics),
        )

    def forget(self, place: int) -> None:
        """Delete the record of a place, before its image is overwritten."""
        (self._notes / f"{place}.npz").unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all images and records. A hard link of the file that became a result stays."""
        shutil.rmtree(self._notes, ignore_errors=True)
        self.path.unlink(missing_ok=True)

    @property
    def is_shared(self) -> bool:
        """Whether the file has a second hard link. It may then be a result and must not be written to."""
        return self.path.stat().st_nlink > 1

    def linked(self, path: Path, n_bytes: int) -> Path | None:
        """A hard link to the file, truncated to a length, beside the result's path; None if linking fails."""
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            os.link(self.path, part)
            os.truncate(part, n_bytes)
        except OSError:  # another file system, or one without links
            part.unlink(missing_ok=True)
            return None
        return part


def places_of(keys: Sequence[str | None], there: Mapping[str, int], first: int) -> list[int]:
    """Place in the file for each section; free places are filled in the order of the sections.

    there : places of the keys that are kept. first : place of the first section if no key is kept.
    """
    places = [None if key is None else there.get(key) for key in keys]
    taken = {place for place in places if place is not None}
    if not taken:
        return [first + i for i in range(len(keys))]
    known = [(i, place) for i, place in enumerate(places) if place is not None]
    found = []
    for i, place in enumerate(places):
        if place is None:
            below = max((one for one in known if one[0] < i), default=None)
            above = min((one for one in known if one[0] > i), default=None)
            wanted = [near[1] + i - near[0] for near in (below, above) if near is not None]
            free = [one for one in wanted if one >= 0 and one not in taken]
            place = free[0] if free else max(taken) + 1
            taken.add(place)
        found.append(place)
    return found


class KeyedSink(GatedSink):
    """The stack of a complete item, with the images that were kept while it grew."""

    def __init__(
        self, role: str, sink: MrcSink, path: Path, pixel_size_angstrom: float, kept: KeptSections
    ) -> None:
        super().__init__(role, sink, path, pixel_size_angstrom, sections_are_images=True)
        self._mrc, self._kept = sink, kept
        self._held: set[int] = set()
        self._forgets = False

    @classmethod
    def begun(
        cls,
        role: str,
        path: Path,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        dtype: DType,
        keys: Sequence[str | None],
        kept: KeptSections,
    ) -> tuple[KeyedSink, MrcSink]:
        """The stack with the images kept under these keys, linked or copied."""
        there = kept.found(shape[1:], dtype)
        place_of = {section.key: place for place, section in there.items()}
        held = {i: place_of[key] for i, key in enumerate(keys) if key is not None and key in place_of}
        part = None
        if held and all(i == place for i, place in held.items()) and not kept.is_shared:
            part = kept.linked(path, MrcSink.file_bytes(shape, dtype))
        sink = MrcSink(path, shape, pixel_size_angstrom, dtype, onto=part)
        gated = cls(role, sink, path, pixel_size_angstrom, kept)
        gated._forgets = part is not None
        for i, place in held.items():
            if part is None:
                sink.copy_section(i, kept.path, place, there[place].statistics)
            else:
                sink.note_section(i, there[place].statistics)
            gated._held.add(i)
            gated._note_written(int(np.prod(shape[1:])))
        return gated, sink

    def holds(self, section: int) -> bool:
        """Whether a section is there already."""
        return section in self._held

    def place(self, section: int) -> int:
        """Its place in the file."""
        return section

    def keep(self, section: int, key: str) -> None:
        """Do nothing: the file becomes the result."""

    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None:
        if isinstance(index, int) and index in self._held:  # computed again, into the kept file
            self._held.discard(index)
            if self._forgets:
                self._kept.forget(index)
        super().__setitem__(index, values)


class GrowingSink:
    """The stack of a growing item, with places for later tilts; it is not recorded as a result."""

    def __init__(
        self,
        role: str,
        shape: tuple[int, ...],
        pixel_size_angstrom: float,
        dtype: DType,
        keys: Sequence[str | None],
        kept: KeptSections,
        *,
        n_places: int,
        first: int,
    ) -> None:
        self.role, self._kept = role, kept
        there = kept.found(shape[1:], dtype)
        place_of = {section.key: place for place, section in there.items()}
        places = places_of(keys, place_of, first)
        is_better_elsewhere = len(keys) <= FEW_SECTIONS and places != [first + i for i in range(len(keys))]
        if kept.path.exists() and (not there or is_better_elsewhere or kept.is_shared):
            kept.clear()
            there, place_of = {}, {}
            places = places_of(keys, place_of, first)
        self._places = places
        self._held = {i for i, key in enumerate(keys) if key is not None and key in place_of}
        n_places = max(n_places, 1 + max(places, default=0), 1 + max(there, default=0))
        kept.path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = MrcSink(kept.path, (n_places, *shape[1:]), pixel_size_angstrom, dtype, onto=kept.path)
        self.path = kept.path
        """The file, which can be read section by section."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape with the free places."""
        return self._sink.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the stored values."""
        return self._sink.dtype

    def __getitem__(self, index: Index, /) -> NDArray[np.float32]:
        return self._sink[index]

    def __setitem__(self, index: Index, values: NDArray[np.float32], /) -> None:
        """Write a whole section, by its number in the series."""
        if not isinstance(index, int):
            raise TypeError(f"images of a growing stack are written one by one, got the index {index!r}")
        self._held.discard(index)
        self._kept.forget(self._places[index])
        self._sink[self._places[index]] = values

    def holds(self, section: int) -> bool:
        """Whether a section is there already."""
        return section in self._held

    def place(self, section: int) -> int:
        """Its place in the file."""
        return self._places[section]

    def keep(self, section: int, key: str) -> None:
        """A section is complete: flush it to the disk, then note it."""
        place = self._places[section]
        self._sink.flush()
        statistics = self._sink.section_statistics(place)
        if np.isfinite(statistics).all():
            self._kept.note(place, KeptSection(key, statistics))
        self._held.add(section)

    def close(self) -> None:
        """Close the file."""
        self._sink.close()
