"""Find movies in a session's folders by the names other programs use for them."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.movie import MOVIE_SUFFIXES
from cryoloom.formats.session.exposures import Exposure

__all__ = ["MovieFolder", "files_below", "series_by_pattern", "series_of_movie_name"]

# An angle with its decimal point is told from the digits of names and dates, so it is tried first.
_ANGLES = (r"[-+]?\d+\.\d+", r"[-+]?\d+(?:\.\d+)?")
_TOKENS = {"{TS}": r"(?P<TS>[^/]+?)", "{TO}": r"(?P<TO>\d+)", "{TA}": "(?P<TA>ANGLE)"}
# "s_mmm_00993_33.0_Oct08_07.39.05.tif", "Position_10_001_-20.00_20230324_121311_EER.eer"
_SERIES_NAMES = [re.compile(rf"^(?P<TS>.+?)[_-]\d{{2,}}[_-]{angle}(?:[_.].*)?$") for angle in _ANGLES]


class MovieFolder:
    """Movies below some folders, found by name whatever its case, else by name without suffix.

    files : the files below the folders, where they are known already.
    """

    def __init__(self, folders: Iterable[Path], files: Iterable[Path] | None = None) -> None:
        self.folders = tuple(dict.fromkeys(folders))
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        below = files if files is not None else (p for folder in self.folders for p in files_below(folder))
        for path in dict.fromkeys(below):
            if path.suffix.lower() in MOVIE_SUFFIXES:
                self._by_name[path.name.lower()].append(path)
                self._by_stem[path.stem.lower()].append(path)

    def holds(self, name: str) -> bool:
        """Whether there is a movie of this name."""
        return bool(self._called(name))

    def _called(self, name: str) -> list[Path]:
        return self._by_name.get(name.lower()) or self._by_stem.get(Path(name).stem.lower(), [])

    def find(self, name: str, near: Path) -> Path:
        """Path of a movie; of several of that name, the one nearest to the folder ``near``.

        Raises DataUnfitError where there is none, or two are equally near.
        """
        found = self._called(name)
        if not found:
            raise DataUnfitError(
                f"the movie {name} is missing from {', '.join(map(str, self.folders))}; copy it there "
                "or give frames_directory"
            )
        if len(found) == 1:
            return found[0]
        ranked = sorted((_distance(path.parent, near), path) for path in found)
        if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
            raise DataUnfitError(
                f"there are two movies {name}: {ranked[0][1]} and {ranked[1][1]}; give frames_directory"
            )
        return ranked[0][1]


def series_by_pattern(
    directory: Path, pattern: str, names: Iterable[str] | None = None
) -> dict[str, list[Exposure]]:
    """Exposures of each series from file names; ``movie_name`` is the path below ``directory``.

    names : such paths, where they are known already.

    ``{TS}`` is the series, ``{TO}`` the order of acquisition, ``{TA}`` the tilt in degrees, ``*`` anything.
    Where nothing fits, ``-``, ``_`` and ``.`` between tokens stand for each other.
    """
    missing = [token for token in _TOKENS if token not in pattern]
    if missing:
        raise UserInputError(
            f"the pattern {pattern!r} lacks {' and '.join(missing)}, e.g. {{TS}}_{{TO}}_{{TA}}.tif"
        )
    if names is None:
        names = [path.relative_to(directory).as_posix() for path in files_below(directory)]
    names = list(names)
    if "/" not in pattern:
        names = [name for name in names if "/" not in name] or names
    for tolerant in (False, True):
        found = [_matches(names, pattern, angle, tolerant) for angle in _ANGLES]
        best = max(found, key=lambda series: sum(map(len, series.values())))
        if best:
            return best
    raise UserInputError(
        f"no file in {directory} fits the pattern {pattern!r}; the first file there is "
        f"{min(names, default='missing: it is empty')}"
    )


def series_of_movie_name(name: str) -> str | None:
    """Series of a movie called ``series_order_angle...``; None for other names."""
    matches = (regex.match(name) for regex in _SERIES_NAMES)
    return next((match["TS"] for match in matches if match), None)


def _matches(names: list[str], pattern: str, angle: str, tolerant: bool) -> dict[str, list[Exposure]]:
    regex = _pattern_regex(pattern, angle, tolerant)
    series: dict[str, list[Exposure]] = defaultdict(list)
    for name in sorted(names):
        match = regex.fullmatch(name if "/" in pattern else name.rsplit("/", 1)[-1])
        if match:
            series[match["TS"]].append(Exposure(float(match["TA"]), name, order=int(match["TO"])))
    return dict(series)


def _pattern_regex(pattern: str, angle: str, tolerant: bool) -> re.Pattern[str]:
    parts = re.split(r"(\{TS\}|\{TO\}|\{TA\}|\*)", pattern)
    seen: set[str] = set()
    regex = ""
    for part in parts:
        if part in _TOKENS:
            name = part.strip("{}")
            regex += f"(?P={name})" if name in seen else _TOKENS[part].replace("ANGLE", angle)
            seen.add(name)
        elif part == "*":
            regex += ".*"
        elif tolerant and part in ("-", "_", "."):
            # A minus belongs to the angle: the separator before it may be missing, as in "TS_01.002-3.0.mrc".
            regex += r"(?:[-_.]|(?=-))"
        else:
            regex += re.escape(part)
    return re.compile(regex)


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder and the folders below it; hidden ones are left out."""
    return [Path(parent) / name for parent, _, names in os.walk(folder) for name in names if name[0] != "."]


def _distance(a: Path, b: Path) -> int:
    """Steps from one folder to the other."""
    relative = os.path.relpath(a, b)
    return 0 if relative == "." else len(Path(relative).parts)
