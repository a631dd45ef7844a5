"""A session's folder as it grows: its series, and which of their movies are complete.

It is polled (notifications of the file system do not cross NFS or SMB). A movie is complete when neither
length nor time changed between checks that are ``settle_seconds`` apart by our own clock, its directories or
header are complete, and it has as many frames as in the mdoc; where its mdoc has their number and all are
there, three seconds without a change are enough. Clocks of microscopes and times kept by copying
programs are not trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from cryoloom.contract import StepContext
from cryoloom.engine.live.watch_status import Arrivals
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.formats.pixels.movie import MOVIE_SUFFIXES, describe_movie
from cryoloom.formats.session.exposures import Exposure, absent_orders
from cryoloom.formats.session.mdoc import Mdoc
from cryoloom.formats.session.movie_folder import MovieFolder, walk_files
from cryoloom.formats.session.session_folder import (
    FoundSeries,
    read_exposures,
    series_of_mdocs,
    series_of_names,
)
from cryoloom.model import Movie, TiltSeries
from cryoloom.steps.import_movies import ImportMoviesParams, movie_path, movies_folder, series_of

__all__ = ["COMPLETE_SETTLE_SECONDS", "MISSING", "WRITTEN", "SeriesNow", "WatchedFolder"]

_MOST_ARRIVALS = 300
"""Movies whose arrival is remembered: some series."""
COMPLETE_SETTLE_SECONDS = 3.0
"""A movie with all frames of its mdoc is complete when it has not changed for this time: its directories are
written with its pixels, so what is still missing can only be in the writer's buffers."""
_AT_REST_SECONDS = 600.0
"""A file unchanged for this long is checked less often: thousands of them load a server."""
_LOOK_AT_RESTING_SECONDS = 60.0
"""Chosen: a file that has not changed for so long is rarely written again."""


MISSING, WRITTEN = "missing", "being written"
_State = tuple[int, int]
"""Length and time of a file."""


@dataclass(frozen=True, slots=True)
class SeriesNow:
    """A series as found in its folder."""

    name: str
    n_in_metadata: int
    """Tilts by an mdoc or the names of movies."""
    whole: frozenset[Path]
    """Movies that can be processed."""
    unfinished: Mapping[str, str]
    """Movies that cannot, and why: MISSING, WRITTEN (a moment ago), or the error of an unchanging file."""
    quiet_seconds: float
    """Since anything of it changed."""
    files: frozenset[tuple[Path, _State]] = field(repr=False)
    """Its mdocs and movies, and the state of each."""
    found: FoundSeries = field(repr=False)


@dataclass(slots=True)
class _Seen:
    """A file's state, since when, and the time of the last check."""

    size: int
    mtime_ns: int
    since: float
    looked_at: float

    @property
    def state(self) -> tuple[int, int]:
        """Size and time of the last change."""
        return self.size, self.mtime_ns


Content = TypeVar("Content")


class _Read(Generic[Content]):
    """Content of files, or why they cannot be read: read once for each state of a file."""

    def __init__(self, read: Callable[[Path], Content]) -> None:
        self._read = read
        self._known: dict[Path, tuple[_State, Content | DataUnfitError]] = {}

    def of(self, path: Path, state: _State) -> Content:
        """The content; raises the DataUnfitError of the reading."""
        if path not in self._known or self._known[path][0] != state:
            try:
                self._known[path] = (state, self._read(path))
            except DataUnfitError as error:
                self._known[path] = (state, error)
        content = self._known[path][1]
        if isinstance(content, DataUnfitError):
            raise content
        return content


class WatchedFolder:
    """The folder of a source's parameters. Times are seconds of one monotonic clock."""

    def __init__(self, params: ImportMoviesParams, settle_seconds: float) -> None:
        self._params = params
        self._settle_seconds = settle_seconds
        self._seen: dict[Path, _Seen] = {}
        self._mdocs = _Read(read_exposures)
        self._movies = _Read(lambda path: describe_movie(path, params.eer_sampling))
        self._folder = MovieFolder([])
        self.last_change = -float("inf")
        """When any change in the folder was seen."""
        self._now = 0.0

    def look(self, now: float) -> list[SeriesNow]:
        """Present series; raises TransientError if the folder cannot be read."""
        self._now = now
        self._look_at_files(now)
        files = sorted(self._seen)
        self._folder = MovieFolder([movies_folder(self._params)], files)
        return [
            self._series_now(entry, now) for entry in self._found(files) if self._params.wants(entry.name)
        ]

    def series(self, now: SeriesNow, context: StepContext, *, closing: bool) -> TiltSeries:
        """The series with its complete movies; ``closing`` accepts also those with too few frames.

        Raises DataUnfitError if it cannot be read.
        """
        params = self._params if closing else self._params.model_copy(update={"min_tilts": 1})
        describe = self._describing(now.found, closing=closing)
        return series_of(now.found, self._folder, params, context, describe)

    def arrivals(self) -> Arrivals:
        """The newest movies by the time of their last change, as the last check saw them."""
        movies = [one for path, one in self._seen.items() if path.suffix.lower() in MOVIE_SUFFIXES]
        newest = sorted((one.mtime_ns / 1e9, one.size) for one in movies)[-_MOST_ARRIVALS:]
        return Arrivals(tuple(newest))

    # Files

    def _look_at_files(self, now: float) -> None:
        there = set()
        for path in self._paths():
            there.add(path)
            seen = self._seen.get(path)
            if (
                seen is not None
                and now - seen.since > _AT_REST_SECONDS
                and now - seen.looked_at < _LOOK_AT_RESTING_SECONDS
            ):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                there.discard(path)
                continue
            except OSError as error:
                raise TransientError(f"{path} cannot be read: {error.strerror}") from error
            if seen is None or seen.state != (status.st_size, status.st_mtime_ns):
                self._seen[path] = _Seen(status.st_size, status.st_mtime_ns, now, now)
                self.last_change = now
            else:
                seen.looked_at = now
        for path in [path for path in self._seen if path not in there]:
            del self._seen[path]

    def _paths(self) -> Iterator[Path]:
        """Movies and mdocs below the folders."""

        def refuse(error: OSError) -> None:
            raise TransientError(f"the folder {error.filename} cannot be read: {error.strerror}") from error

        for folder in {self._params.directory.absolute(), movies_folder(self._params)}:
            for path in walk_files(folder, refuse):
                if path.name.lower().endswith((".mdoc", *MOVIE_SUFFIXES)):
                    yield path

    def _found(self, files: list[Path]) -> list[FoundSeries]:
        if self._params.pattern:
            folder = movies_folder(self._params)
            names = [path.relative_to(folder).as_posix() for path in files if path.is_relative_to(folder)]
            try:
                return series_of_names(folder, self._params.pattern, names)
            except UserInputError:
                if any(name.lower().endswith(MOVIE_SUFFIXES) for name in names):
                    raise  # there are movies, and none fits the pattern
                return []
        directory = self._params.directory.absolute()
        paths = [path for path in directory.glob(self._params.mdoc) if path in self._seen]
        if not paths:  # in folders below, as `find_mdocs` has it
            below = (path for path in files if path.is_relative_to(directory))
            paths = [path for path in below if path.match(self._params.mdoc)]
        return series_of_mdocs(paths, self._mdoc)[0]

    # Contents, read again when a file changed

    def _mdoc(self, path: Path) -> tuple[Mdoc, tuple[Exposure, ...]]:
        return self._mdocs.of(path, self._seen[path].state)

    def _describing(self, entry: FoundSeries, *, closing: bool) -> Callable[[Path, int], Movie]:
        """Reads a movie that is whole; ``closing`` accepts also one with fewer frames than its mdoc names.

        The function raises DataUnfitError for a movie that is not whole, or not yet.
        """
        n_frames_in_mdoc = _frames_in_mdoc(entry)

        def describe(path: Path, _: int) -> Movie:
            n_in_mdoc = n_frames_in_mdoc.get(path.name)
            if path not in self._seen:
                raise DataUnfitError(f"the movie {path.name} is missing")
            if self._is_written(path, n_in_mdoc):
                raise DataUnfitError(f"{path.name} is being written")
            movie = self._movies.of(path, self._seen[path].state)
            if not closing and n_in_mdoc is not None and movie.n_frames < n_in_mdoc:
                raise DataUnfitError(f"{path.name} has {movie.n_frames} of {n_in_mdoc} frames")
            return movie

        return describe

    def _is_written(self, path: Path, n_in_mdoc: int | None) -> bool:
        """Whether a file changed a moment ago, and may not have all that it will have.

        n_in_mdoc : frames of the movie by its mdoc, if it names their number.
        """
        rest = self._now - self._seen[path].since
        if rest >= self._settle_seconds:
            return False
        if n_in_mdoc is None or rest < COMPLETE_SETTLE_SECONDS:
            return True
        try:
            return self._movies.of(path, self._seen[path].state).n_frames != n_in_mdoc
        except DataUnfitError:
            return True

    # Series

    def _series_now(self, entry: FoundSeries, now: float) -> SeriesNow:
        n_frames_in_mdoc, describe = _frames_in_mdoc(entry), self._describing(entry, closing=False)
        whole, unfinished = set(), {}
        files = {mdoc.path for mdoc in entry.mdocs}
        for exposure in entry.exposures:
            name, path = exposure.movie_name or f"tilt at {exposure.tilt_deg:.1f} deg", None
            try:
                path = movie_path(exposure, entry, self._folder, self._params)
                files |= {path} & self._seen.keys()
                describe(path, self._params.eer_sampling)
                whole.add(path)
            except DataUnfitError as error:
                if path in self._seen:
                    unfinished[name] = (
                        WRITTEN if self._is_written(path, n_frames_in_mdoc.get(path.name)) else error.message
                    )
                else:
                    is_there = exposure.movie_name is None or self._folder.holds(exposure.movie_name)
                    unfinished[name] = error.message if is_there else MISSING
        absent = absent_orders(entry.exposures)
        unfinished |= {f"the movie numbered {order}": MISSING for order in absent}
        if entry.error is not None:
            unfinished[entry.name] = entry.error.message
        return SeriesNow(
            entry.name,
            len(entry.exposures) + len(absent),
            frozenset(whole),
            unfinished,
            now - max((self._seen[path].since for path in files), default=self.last_change),
            frozenset((path, self._seen[path].state) for path in files),
            entry,
        )


def _frames_in_mdoc(entry: FoundSeries) -> dict[str, int]:
    """Frames of each movie of a series by its mdoc; not of EER, for which programs write any number."""
    return {
        exposure.movie_name: exposure.n_frames
        for exposure in entry.exposures
        if exposure.movie_name is not None
        and exposure.n_frames is not None
        and not exposure.movie_name.lower().endswith(".eer")
    }
