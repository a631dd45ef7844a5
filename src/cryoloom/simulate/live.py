"""A session played again as it would be acquired: movies in pieces, mdocs that grow, and what goes wrong."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryoloom.formats.session.exposures import Exposure, in_order_of_acquisition
from cryoloom.formats.session.movie_folder import MovieFolder
from cryoloom.formats.session.session_folder import FoundSeries, series_of_mdocs

__all__ = ["LivePlan", "play_session"]


@dataclass(frozen=True, slots=True)
class LivePlan:
    """Settings with which a session is replayed."""

    seconds_per_tilt: float = 1.0
    n_pieces: int = 3
    """Pieces a movie is written in."""
    out_of_order: bool = False
    """Every third movie comes after the one that was taken next."""
    interleaved: bool = False
    """All series at once, tilt by tilt, as with beam-shift acquisition; else one after the other."""
    missing: frozenset[str] = frozenset()
    """Movies that never come, although the mdoc names them."""
    cut: frozenset[str] = frozenset()
    """Movies of which only the first part is written."""
    abandoned: Mapping[str, int] = field(default_factory=dict)
    """Series that end after so many tilts."""
    late: frozenset[str] = frozenset()
    """Movies that come when all else is there."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """One exposure of a series, as it comes."""

    series: FoundSeries
    exposure: Exposure
    sections: tuple[str, ...]
    """The mdoc's sections up to this exposure, in the order of acquisition."""
    header: str


def play_session(source: Path, to: Path, plan: LivePlan) -> None:
    """Write a finished session with SerialEM's or Tomo5's mdocs into a folder as if it were acquired now.

    Files that belong to no tilt (gain reference, truth) are there from the start. An mdoc is rewritten with
    every tilt, its section after the first piece of its movie.
    """
    found, _ = series_of_mdocs(source.glob("*.mdoc"))
    movies = MovieFolder([source])
    to.mkdir(parents=True, exist_ok=True)
    named = {exposure.movie_name or "" for series in found for exposure in series.exposures}
    _copy_the_rest(source, to, {mdoc.path.name for series in found for mdoc in series.mdocs} | named)
    taken = [list(_exposures(series, plan)) for series in found]
    for exposure in _sequence(taken, plan.interleaved, plan.out_of_order):
        _take(exposure, movies, source, to, plan)
    for exposure in (e for series in taken for e in series if e.exposure.movie_name in plan.late):
        _write_movie(exposure, movies, source, to, plan, plan.n_pieces)


def _copy_the_rest(source: Path, to: Path, of_tilts: set[str]) -> None:
    for path in source.iterdir():
        if path.is_file() and path.name not in of_tilts:
            shutil.copyfile(path, to / path.name)


def _exposures(series: FoundSeries, plan: LivePlan) -> Iterator[_Taken]:
    """Exposures as they were taken, each with the mdoc as it was then."""
    header, by_movie = _sections(series)
    ordered, _ = in_order_of_acquisition(series.exposures)
    n_taken = plan.abandoned.get(series.name, len(ordered))
    texts = [by_movie[exposure.movie_name or ""] for exposure in ordered]
    for i, exposure in enumerate(ordered[:n_taken]):
        yield _Taken(series, exposure, tuple(texts[: i + 1]), header)


def _sections(series: FoundSeries) -> tuple[str, dict[str, str]]:
    """The mdoc before its first image, and its images' sections by the name of their movie."""
    text = series.mdocs[0].path.read_text()
    header, *bodies = re.split(r"(?m)^(?=\[ZValue)", text)
    named = {re.search(r"SubFramePath\s*=\s*(\S.*)", body): body for body in bodies}
    return header, {re.split(r"[\\/]", name[1].strip())[-1]: body for name, body in named.items() if name}


def _sequence(taken: list[list[_Taken]], interleaved: bool, out_of_order: bool) -> Iterator[_Taken]:
    if out_of_order:
        taken = [_with_every_third_late(series) for series in taken]
    if not interleaved:
        yield from (exposure for series in taken for exposure in series)
        return
    for i in range(max(map(len, taken))):
        yield from (series[i] for series in taken if i < len(series))


def _with_every_third_late(series: list[_Taken]) -> list[_Taken]:
    shuffled = list(series)
    for i in range(2, len(shuffled) - 1, 3):
        shuffled[i], shuffled[i + 1] = shuffled[i + 1], shuffled[i]
    return shuffled


def _take(taken: _Taken, movies: MovieFolder, source: Path, to: Path, plan: LivePlan) -> None:
    name = taken.exposure.movie_name or ""
    if name in plan.missing or name in plan.late:
        _write_mdoc(taken, source, to)
        time.sleep(plan.seconds_per_tilt)
        return
    n_pieces = max(1, plan.n_pieces - 1) if name in plan.cut else plan.n_pieces
    _write_movie(taken, movies, source, to, plan, n_pieces)


def _write_movie(
    taken: _Taken, movies: MovieFolder, source: Path, to: Path, plan: LivePlan, n_pieces: int
) -> None:
    """Write some of a movie's pieces, and the mdoc after the first."""
    path = movies.find(taken.exposure.movie_name or "", source)
    raw = path.read_bytes()
    target = to / path.relative_to(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    length = -(-len(raw) // plan.n_pieces)
    with target.open("wb") as file:
        for i in range(n_pieces):
            file.write(raw[i * length : (i + 1) * length])
            file.flush()
            if i == 0:
                _write_mdoc(taken, source, to)
            time.sleep(plan.seconds_per_tilt / plan.n_pieces)


def _write_mdoc(taken: _Taken, source: Path, to: Path) -> None:
    """The mdoc as it is after this exposure; an earlier one that comes late does not shorten it."""
    path = to / taken.series.mdocs[0].path.relative_to(source)
    text = taken.header + "".join(taken.sections)
    if not path.exists() or path.stat().st_size < len(text.encode()):
        path.write_text(text)
