"""Find movies in a session's folders by the names other programs use for them."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

from cryoloom.errors import DataUnfitError, UserInputError
from cryoloom.formats.pixels.movie import MOVIE_SUFFIXES
from cryoloom.formats.session.exposures import Exposure
from cryoloom.formats.session.movie_names import read_movie_name

__all__ = [
    "MovieFolder",
    "files_below",
    "name_key",
    "series_by_pattern",
    "series_of_movie_name",
    "walk_files",
]

# An angle with its decimal point is distinguished from the digits of names and dates, so it is tried first.
_ANGLES = (r"[-+]?\d+\.\d+", r"[-+]?\d+(?:\.\d+)?")
_MINUS_IS_A_SIGN, _MINUS_SEPARATES = r"(?:(?=[-+])|[-_.])", r"[-_.]"
"""Separators: nothing before a sign, which then belongs to the angle, or any of the three."""
_TOKENS = {"{TS}": r"(?P<TS>[^/]+?)", "{TO}": r"(?P<TO>\d+)", "{TA}": "(?P<TA>ANGLE)"}


class MovieFolder:
    """Movies below some folders, found by name ignoring case, else by name without suffix.

    files : the files below the folders, where they are known already.
    """

    def __init__(self, folders: Iterable[Path], files: Iterable[Path] | None = None) -> None:
        self.folders = tuple(dict.fromkeys(folders))
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        below = files if files is not None else (p for folder in self.folders for p in files_below(folder))
        for path in dict.fromkeys(below):
            if path.suffix.lower() in MOVIE_SUFFIXES:
                self._by_name[name_key(path.name)].append(path)
                self._by_stem[name_key(path.stem)].append(path)

    @property
    def files(self) -> list[Path]:
        """Paths of all movies."""
        return [path for paths in self._by_name.values() for path in paths]

    @property
    def n_movies(self) -> int:
        """Number of movies."""
        return sum(map(len, self._by_name.values()))

    @property
    def example(self) -> str:
        """Name of a movie, "" if there is none."""
        return self._by_name[min(self._by_name)][0].name if self._by_name else ""

    def holds(self, name: str) -> bool:
        """Whether there is a movie of this name."""
        return bool(self._called(name))

    def _called(self, name: str) -> list[Path]:
        return self._by_name.get(name_key(name)) or self._by_stem.get(name_key(Path(name).stem), [])

    def _nearest(self, name: str) -> str | None:
        """Name of a movie that is there and resembles this one."""
        close = get_close_matches(name_key(name), self._by_name, n=1, cutoff=0.7)
        return self._by_name[close[0]][0].name if close else None

    def find(self, name: str, near: Path, recorded_in: Sequence[str] = ()) -> Path:
        """Path of a movie; of several of that name, the one nearest to the folder ``near``.

        recorded_in : folders of the movie where it was recorded, the one that contains it first. Of several
        movies those count whose folders have most of these names.

        Raises DataUnfitError if there is none, or two are equally near.
        """
        found = self._called(name)
        if not found:
            nearest = self._nearest(name)
            raise DataUnfitError(
                f"the movie {name} is missing from {', '.join(map(str, self.folders))} and the folders "
                "below; copy it there or give "
                f"frames_directory{f' (the nearest name there is {nearest})' if nearest else ''}"
            )
        if len(found) == 1:
            return found[0]
        found = list({path.resolve(): path for path in found}.values())
        if len(found) == 1:
            return found[0]
        ranked = sorted(
            (-_same_folders(path, recorded_in), _distance(path.parent, near), path) for path in found
        )
        if ranked[0][:2] == ranked[1][:2]:
            raise DataUnfitError(
                f"there are two movies {name}: {ranked[0][-1]} and {ranked[1][-1]}; give frames_directory"
            )
        return ranked[0][-1]


def name_key(name: str) -> str:
    """Form in which equal names are compared: case and the encoding of accents are ignored.

    macOS writes "ü" as "u" and its dots, Windows as one letter.
    """
    return unicodedata.normalize("NFC", name).lower()


def _same_folders(path: Path, recorded_in: Sequence[str]) -> int:
    """How many of the folders that contain a movie, from the nearest on, have the names recorded."""
    pairs = zip(path.parent.parts[::-1], recorded_in, strict=False)
    return sum(1 for _ in takewhile(lambda pair: name_key(pair[0]) == name_key(pair[1]), pairs))


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
    for separator in (None, _signs_before_separators(names, pattern)):
        found = [_matches(names, pattern, angle, separator) for angle in _ANGLES]
        best = max(found, key=lambda series: sum(map(len, series.values())))
        if best:
            return best
    raise UserInputError(
        f"no file in {directory} fits the pattern {pattern!r}; "
        + (f"the first file there is {min(names)}; correct the pattern" if names else "the folder is empty")
    )


def series_of_movie_name(name: str) -> str | None:
    """Series of a movie called ``series_order_angle...``; None for other names."""
    return read_movie_name(name).series


def _signs_before_separators(names: list[str], pattern: str) -> str:
    """Regex of what may stand for a separator, such that the minus of an angle is not taken for one.

    In "TS_01.002-3.0.mrc" the minus is the angle's; where some name has two of them ("-002--3.0"), or all
    have one between other minuses ("TS-01-002-3.0"), the first is a separator.
    """
    found = [_matches(names, pattern, angle, _MINUS_IS_A_SIGN) for angle in _ANGLES]
    best = max(found, key=lambda series: sum(map(len, series.values())))
    exposures = [exposure for series in best.values() for exposure in series]
    doubled = any(re.search(r"-[-+]\d", exposure.movie_name or "") for exposure in exposures)
    between = all(re.search(r"-\d+-\d", exposure.movie_name or "") for exposure in exposures)
    one_sided = all(exposure.tilt_deg <= 0 for exposure in exposures)
    return _MINUS_SEPARATES if doubled or (between and one_sided) else _MINUS_IS_A_SIGN


def _matches(names: list[str], pattern: str, angle: str, separator: str | None) -> dict[str, list[Exposure]]:
    regex = _pattern_regex(pattern, angle, separator)
    series: dict[str, list[Exposure]] = defaultdict(list)
    for name in sorted(names):
        match = regex.fullmatch(name if "/" in pattern else name.rsplit("/", 1)[-1])
        if match:
            parts = read_movie_name(name.rsplit("/", 1)[-1])
            series[match["TS"]].append(
                Exposure(
                    float(match["TA"]),
                    name,
                    order=int(match["TO"]),
                    order_is_given=True,
                    named_at=parts.acquired_at,
                )
            )
    return dict(series)


def _pattern_regex(pattern: str, angle: str, separator: str | None) -> re.Pattern[str]:
    """Regex of a pattern; ``separator`` is what may stand for each of its separators, None for themselves."""
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
        elif separator is not None and part in ("-", "_", "."):
            regex += separator
        else:
            regex += re.escape(part)
    return re.compile(regex)


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder and the folders below it; hidden ones are left out."""
    return list(walk_files(folder))


def walk_files(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Files in a folder and below it, links to folders followed, each folder visited once.

    on_error : called where a folder cannot be read; without it such a folder is left out.
    """
    visited: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        identity = _identity(parent)
        if identity is None or identity in visited:  # a link to a folder above, or a second way to this one
            folders.clear()
            continue
        visited.add(identity)
        folders[:] = sorted(name for name in folders if name[0] != ".")
        yield from (Path(parent) / name for name in names if name[0] != ".")


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _distance(a: Path, b: Path) -> int:
    """Steps from one folder to the other."""
    relative = os.path.relpath(a, b)
    return 0 if relative == "." else len(Path(relative).parts)
