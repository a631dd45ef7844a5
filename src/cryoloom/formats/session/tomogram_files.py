"""Tomograms in a folder, and which files are halves of one: by their names, as other programs write them.

Names come from RELION 5 (``rec_NAME.mrc``, ``rec_NAME_half1.mrc``), Warp (``NAME_10.00Apx.mrc``, halves in
the folders ``even`` and ``odd``), AreTomo (``NAME_Vol.mrc``, ``NAME_EVN_Vol.mrc``, ``NAME_ODD_Vol.mrc``) and
IMOD (``NAME.rec``, ``NAME_rec.mrc``, ``NAME_full_rec.mrc``).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["TOMOGRAM_SUFFIXES", "TomogramFiles", "find_tomograms"]

TOMOGRAM_SUFFIXES = (".mrc", ".rec", ".map", ".ccp4")
"""IMOD's name for a reconstruction, and the format's own names."""

Part = Literal["whole", "even", "odd"]

_HALVES: dict[str, Part] = {"even": "even", "evn": "even", "half1": "even", "odd": "odd", "half2": "odd"}
"""Words in names of files and folders. RELION's first half comes from the even frames of this package."""
_ADDED = re.compile(
    r"^rec_(?=.)|[_.-](?:rec|full_rec|full|vol|tomogram|tomo|reconstruction|bin\d+|\d+(?:\.\d+)?apx)$",
    re.IGNORECASE,
)
"""What programs put before or behind the name of a series."""
_HALF_AT_END = re.compile(r"[_.-](even|evn|odd|half1|half2)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TomogramFiles:
    """Files of one tomogram: the whole, and its halves where there are both; never none at all."""

    name: str
    whole: Path | None
    even: Path | None = None
    odd: Path | None = None


def find_tomograms(paths: Iterable[Path]) -> list[TomogramFiles]:
    """Tomograms among files, by name. A half without the other is a tomogram of its own.

    What programs add to names is removed. Where two files would then have one name, as two binnings of one
    series do, they keep the names of their files.
    """
    found: dict[str, dict[Part, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(set(paths)):
        name, part = _read_name(path)
        found[name][part].append(path)
    if any(len(files) > 1 for parts in found.values() for files in parts.values()):
        found = _by_longer_names(found)
    made = []
    for name, parts in found.items():
        # Two of one name are left only where folders hold files of equal names: each is itself.
        if any(len(files) > 1 for files in parts.values()):
            every = sorted(path for files in parts.values() for path in files)
            made += [TomogramFiles(f"{path.parent.name}_{path.stem}", path) for path in every]
            continue
        whole, even, odd = (next(iter(parts.get(part, ())), None) for part in ("whole", "even", "odd"))
        if even is not None and odd is not None:
            made.append(TomogramFiles(name, whole, even, odd))
            continue
        if whole is not None:
            made.append(TomogramFiles(name, whole))
        alone = even or odd
        if alone is not None:
            made.append(TomogramFiles(alone.stem if whole is not None else name, alone))
    return sorted(made, key=lambda one: one.name)


def _by_longer_names(found: dict[str, dict[Part, list[Path]]]) -> dict[str, dict[Part, list[Path]]]:
    """The same, with the names of files where a name is that of several; halves still find each other."""
    longer: dict[str, dict[Part, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for name, parts in found.items():
        is_one = all(len(files) == 1 for files in parts.values())
        for part, files in parts.items():
            for path in files:
                longer[name if is_one else _without_half(path.stem)[0]][part].append(path)
    return longer


def _read_name(path: Path) -> tuple[str, Part]:
    """Name of the series and the part of it that a file is."""
    name, part = path.stem, _HALVES.get(path.parent.name.lower(), "whole")
    while True:
        shorter, half = _without_half(name)
        part = half if half != "whole" else part
        cut = _ADDED.sub("", shorter, count=1)
        if cut == name or not cut:
            return shorter or name, part
        name = cut


def _without_half(stem: str) -> tuple[str, Part]:
    """A name without the word of its half, and the half."""
    match = _HALF_AT_END.search(stem)
    if match is None or match.start() == 0:
        return stem, "whole"
    return stem[: match.start()], _HALVES[match[1].lower()]
