"""The tilt series in a session's folder: by its mdocs, or by the names of its movies alone."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryoloom.errors import DataUnfitError
from cryoloom.formats.session.exposures import Exposure, exposures_of
from cryoloom.formats.session.mdoc import Mdoc, read_mdoc
from cryoloom.formats.session.movie_folder import series_by_pattern, series_of_movie_name

__all__ = ["FoundSeries", "read_exposures", "series_of_mdocs", "series_of_names"]

_STEM_SUFFIXES = (".mdoc", ".mrc", ".st", ".mrcs", ".tif", ".tiff", ".eer")


_SAME_TILT_DEG = 0.5
_FEWEST_OF_A_SERIES = 3
"""Chosen: half the smallest usual step of tilts; fewer are no second series."""


@dataclass(frozen=True, slots=True)
class FoundSeries:
    """A series as found in the folder, before its movies are opened."""

    name: str
    exposures: tuple[Exposure, ...]
    folder: Path
    mdocs: tuple[Mdoc, ...] = ()
    error: DataUnfitError | None = None

    @property
    def mdoc(self) -> Mdoc | None:
        """The mdoc with the values common to all exposures."""
        return self.mdocs[0] if self.mdocs else None


def series_of_names(folder: Path, pattern: str, names: Iterable[str] | None = None) -> list[FoundSeries]:
    """Series of the movies in a folder whose names fit a pattern (`movie_folder.series_by_pattern`)."""
    series = series_by_pattern(folder, pattern, names)
    return [FoundSeries(_safe_name(name), tuple(series[name]), folder) for name in sorted(series)]


def read_exposures(path: Path) -> tuple[Mdoc, tuple[Exposure, ...]]:
    """An mdoc and its exposures, none where it is of a map; raises DataUnfitError where it is unfit."""
    mdoc = read_mdoc(path)
    return mdoc, () if mdoc.is_montage else tuple(exposures_of(mdoc))


def series_of_mdocs(
    paths: Iterable[Path], read: Callable[[Path], tuple[Mdoc, tuple[Exposure, ...]]] = read_exposures
) -> tuple[list[FoundSeries], list[str]]:
    """Series of mdoc files, and a sentence on each file that was left out.

    Files of one exposure each are gathered by the names of their movies.
    """
    whole: dict[str, FoundSeries] = {}
    single: dict[str, list[tuple[Mdoc, Exposure]]] = defaultdict(list)
    paths, notes = _without_overrides(sorted(paths))
    for path in paths:
        name = _series_name(path)
        try:
            mdoc, exposures = read(path)
        except DataUnfitError as error:
            whole[name] = FoundSeries(name, (), path.parent, error=error)
            continue
        if not any(exposure.movie_name for exposure in exposures):
            notes.append(f"{path.name} names no movies (it is a map or a stack); left out")
        elif len(exposures) == 1 and (group := series_of_movie_name(exposures[0].movie_name or "")):
            single[group].append((mdoc, exposures[0]))
        elif name in whole:
            notes.append(f"{path.name} describes the series {name} again; left out")
        elif (first := _same_movies(exposures, path.parent, whole)) is not None:
            notes.append(f"{path.name} names the same movies as the mdoc of {first}; left out")
        else:
            unfit = _of_two_series(path, exposures)
            whole[name] = FoundSeries(name, exposures, path.parent, (mdoc,), unfit)
    known = {exposure.movie_name for entry in whole.values() for exposure in entry.exposures}
    for group, pairs in single.items():
        mdocs, gathered = tuple(mdoc for mdoc, _ in pairs), tuple(exposure for _, exposure in pairs)
        if not known.issuperset(exposure.movie_name for exposure in gathered) and group not in whole:
            whole[group] = FoundSeries(_safe_name(group), gathered, mdocs[0].path.parent, mdocs)
    return [whole[name] for name in sorted(whole)], notes


def _same_movies(exposures: Iterable[Exposure], folder: Path, whole: Mapping[str, FoundSeries]) -> str | None:
    """Name of a series of the same folder whose movies are these, all of them."""
    names = _recorded(exposures)
    return next(
        (
            name
            for name, entry in whole.items()
            if entry.folder == folder and _recorded(entry.exposures) == names
        ),
        None,
    )


def _recorded(exposures: Iterable[Exposure]) -> set[tuple[str | None, str]]:
    """Movies by their name and that of their folder: folders of series may contain the same names."""
    return {(exposure.movie_name, (*exposure.movie_folders, "")[0]) for exposure in exposures}


def _of_two_series(path: Path, exposures: Iterable[Exposure]) -> DataUnfitError | None:
    """Error of an mdoc that was put together from two series: movies of two names at the same angles."""
    groups: dict[str, list[float]] = defaultdict(list)
    for exposure in exposures:
        if series := series_of_movie_name(exposure.movie_name or ""):
            groups[series].append(exposure.tilt_deg)
    if len(groups) < 2:
        return None
    (first, angles), (second, others) = sorted(groups.items(), key=lambda one: -len(one[1]))[:2]
    again = sum(any(abs(a - b) <= _SAME_TILT_DEG for b in angles) for a in others)
    if len(others) < _FEWEST_OF_A_SERIES or 2 * again < len(others):
        return None
    return DataUnfitError(
        f"{path.name} names movies of two series at the same angles: {len(angles)} of {first} and "
        f"{len(others)} of {second}; give each series an mdoc of its own, or import by pattern"
    )


def _without_overrides(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """Leave out ``X_override.mdoc`` beside ``X.mdoc``: it names the same exposures again."""
    names = {path.name for path in paths}
    kept, notes = [], []
    for path in paths:
        if path.name.endswith("_override.mdoc") and path.name.replace("_override.mdoc", ".mdoc") in names:
            notes.append(f"{path.name} repeats another mdoc; left out")
        else:
            kept.append(path)
    return kept, notes


def _series_name(path: Path) -> str:
    name = path.name
    while name.lower().endswith(_STEM_SUFFIXES):
        name = name[: name.rindex(".")]
    return _safe_name(name.removesuffix("_override"))


def _safe_name(name: str) -> str:
    """Fit for a folder's name."""
    return re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", name)).strip("._") or "series"
