"""Processing of a session while it is acquired: closed series are processed, and movies as they arrive.

A series is closed when all of its tilts exist, when it has not changed for a while, on request (``cryoloom
close``) or because the session ended. One that grows again is reopened and processed again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cryoloom.contract.discovery import find_step
from cryoloom.engine.coordinator.planner import N_EXPECTED
from cryoloom.engine.coordinator.scheduler import GROWING, Listener, Summary
from cryoloom.engine.coordinator.sources import source_record
from cryoloom.engine.executors.executor import Executor
from cryoloom.engine.executors.workplace import Workplace
from cryoloom.engine.graph.raw_data import plan_for_raw_data
from cryoloom.engine.graph.workflow import Node, Workflow, link_of, load_workflow, validated_params
from cryoloom.engine.live.closing import asked_to_close, closing_done
from cryoloom.engine.live.watch_options import WatchOptions
from cryoloom.engine.live.watch_status import Arrivals, SeriesStatus, keep_status
from cryoloom.engine.live.watched_folder import (
    COMPLETE_SETTLE_SECONDS,
    MISSING,
    WRITTEN,
    SeriesNow,
    WatchedFolder,
)
from cryoloom.engine.project import Project
from cryoloom.engine.reporting import write_project_report
from cryoloom.engine.worker.context import EngineContext
from cryoloom.engine.worker.partial_results import forget_partial_results
from cryoloom.engine.worker.task import Outcome, Task, load_value
from cryoloom.errors import DataUnfitError, TransientError, UserInputError
from cryoloom.model import TiltSeries
from cryoloom.steps.import_movies import ImportMoviesParams, require_references
from cryoloom.store.codec import fingerprint
from cryoloom.store.records import ItemRecord, RunRecord

__all__ = ["WatchListener", "WatchOptions", "watch"]

_REPORT_SECONDS = 30.0
"""Chosen: between two versions of the report; a large report is written at most a twentieth of the time."""
_SHORTEST_LOOK_SECONDS = 1.0
"""Chosen: a movie takes longer to acquire."""
_COMING_SECONDS = 60.0
"""Chosen: after the last change; longer than from one tilt of a series to the next."""
_IDLE_OF_LOOKS = 10.0
"""Reading the folder takes at most a tenth of a core: with 8,200 movies it takes 0.2 s."""


class WatchListener(Listener, Protocol):
    """A listener that is also notified of the folder."""

    def watching(self, series: Sequence[SeriesStatus], trouble: str) -> None:
        """The folder was checked; ``trouble`` says why it could not be read."""


def watch(
    project: Project,
    raw: Path,
    listener: WatchListener,
    options: WatchOptions | None = None,
    *,
    workflow: str | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    of_series: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    device: str = "auto",
    executor: Executor | Workplace | None = None,
    **given: Any,
) -> Summary:
    """Process a folder of movies while it grows, until the session ends or the user stops it.

    Arguments as of `Project.process`. Run it again to continue: recorded results are not made again.
    """
    options = options or WatchOptions()
    load_workflow(workflow or "tomogram")  # reports a wrong name before anything is waited for
    if not _has_come(raw, listener, options):
        return Summary()
    plan = plan_for_raw_data(raw, workflow or "tomogram", given)
    source = plan.steps[0]
    if not isinstance(validated_params(source), ImportMoviesParams):
        raise UserInputError(
            f"watch needs a workflow that begins with import_movies; {plan.name} begins with {source.step}"
        )
    planned = plan.with_parameters(parameters or {})
    # A session has tilts that never come. A value given by the user takes precedence.
    lenient = {"leave_out_missing": True, **planned.steps[0].parameters}
    planned = planned.with_parameters({source.name: lenient})
    session = _Session(project, planned, listener, options)
    summary = project.run_workflow(
        planned,
        device=device,
        executor=executor,
        listener=session,
        open_source=session.items,
        of_series=of_series,
    )
    for name in session.abandoned:  # partial results made ahead of them
        for node in planned.steps:
            forget_partial_results(project.folder, node.step, name)
    return summary


def _has_come(raw: Path, listener: WatchListener, options: WatchOptions) -> bool:
    """Wait for the folder that is to be watched; false if the session ends before it exists."""
    began = time.monotonic()
    while not raw.is_dir():
        if options.stop_file is not None and options.stop_file.exists():
            return False
        waited = time.monotonic() - began
        if options.idle_minutes is not None and waited > 60 * options.idle_minutes:
            return False
        listener.watching([], f"{raw} does not exist yet; it is checked every {options.look_seconds:g} s")
        time.sleep(min(options.look_seconds, 1.0))
    return True


@dataclass(frozen=True, slots=True)
class _Closed:
    """A series that was closed: the movies it was closed with, and its key."""

    movies: frozenset[Path]
    key: str
    state: str
    note: str
    n_in_metadata: int = 0


class _Session:
    """Source of a workflow's items, and a listener that forwards to the user's."""

    def __init__(
        self, project: Project, workflow: Workflow, listener: WatchListener, options: WatchOptions
    ) -> None:
        self._project, self._listener, self._options = project, listener, options
        fed = {link_of(source).node for node in workflow.steps for source in node.feeds.values()}
        self._last_nodes = {node.name for node in workflow.steps if node.name not in fed}
        self._closed: dict[str, _Closed] = {}
        self._ahead: dict[str, frozenset[Path]] = {}
        self._unchanged: dict[str, object] = {}
        """Closed series whose files, in this state, are known to contain nothing new."""
        self._report_is_old = False
        self._report_after = 0.0
        self._is_writing = False
        """Whether a movie was being written when the folder was read."""
        self._is_coming = False
        """Whether the folder changed a short time before it was read."""
        self._last_reported: tuple[list[SeriesStatus], Arrivals] = ([], Arrivals())

    @property
    def abandoned(self) -> list[str]:
        """Series that ended with too few tilts."""
        return [name for name, closed in self._closed.items() if closed.state == "abandoned"]

    # The source

    def items(self, node: Node, run: RunRecord, project: Path) -> Iterator[ItemRecord | None]:
        """Items as the folder provides them; None in between. Closed ones of an earlier watch come first."""
        params = validated_params(node)
        if not isinstance(params, ImportMoviesParams):
            raise UserInputError(f"{node.name} cannot be watched")
        if not params.directory.is_dir():
            raise UserInputError(
                f"the folder to watch, {params.directory}, does not exist; correct directory"
            )
        require_references(params)
        yield None
        for item in self._project.database.items(run.id, with_records=True):
            if item.state in ("done", "left_out"):
                self._closed[item.name] = _closed_before(item, project)
                yield item
        folder = WatchedFolder(params, self._options.settle_seconds)
        began = time.monotonic()
        with ThreadPoolExecutor(1) as thread:
            is_over = False
            while not is_over:
                began_look = time.monotonic()
                looking = thread.submit(self._look, folder, node, run, began)
                while not looking.done():
                    yield None
                records, is_over = looking.result()
                for record in records:
                    yield record
                    if record.state != GROWING:  # it is recorded by now
                        closing_done(project, record.name)
                next_look = began_look + self._seconds_to_next_look(time.monotonic() - began_look)
                while not is_over and time.monotonic() < next_look:
                    yield None

    def _seconds_to_next_look(self, look_took_seconds: float) -> float:
        """Shorter while movies arrive, if a check is cheap: the start of the next movie is then noticed."""
        usual = self._options.look_seconds
        if not (self._is_writing or self._is_coming):
            return usual
        return min(usual, max(_SHORTEST_LOOK_SECONDS, _IDLE_OF_LOOKS * look_took_seconds))

    def _look(
        self, folder: WatchedFolder, node: Node, run: RunRecord, began: float
    ) -> tuple[list[ItemRecord], bool]:
        """Result of one check of the folder, and whether the session is over."""
        self._refresh_report()
        now = time.monotonic()
        try:
            series = folder.look(now)
        except TransientError as error:
            self._listener.watching(self._last_reported[0], f"{error.message}; tried again every few seconds")
            return [], False
        is_over = self._is_over(now, max(began, folder.last_change))
        by_word = asked_to_close(self._project.folder)
        records, states = [], []
        is_writing = False
        for one in series:
            is_writing |= WRITTEN in one.unfinished.values()
            record, state = self._follow(one, folder, node, run, is_over, one.name in by_word)
            records += [record] if record is not None else []
            states.append(state)
        self._is_writing = is_writing
        self._is_coming = now - folder.last_change < _COMING_SECONDS
        self._tell(states, folder.arrivals())
        return records, is_over

    def _is_over(self, now: float, last_change: float) -> bool:
        """Whether nothing more will come; files that are still being written are waited for."""
        options, quiet = self._options, now - last_change
        if options.stop_file is not None and options.stop_file.exists():
            return quiet >= options.settle_seconds
        return options.idle_minutes is not None and quiet >= 60 * options.idle_minutes

    def _follow(
        self,
        one: SeriesNow,
        folder: WatchedFolder,
        node: Node,
        run: RunRecord,
        is_over: bool,
        by_word: bool,
    ) -> tuple[ItemRecord | None, SeriesStatus]:
        """Record of a series if there is something new of it, and its state."""
        had, note = self._closed.get(one.name), ""
        if had is not None:
            news = self._news(one, had, folder, node, run)
            if not news:
                closing_done(self._project.folder, one.name)
                return None, SeriesStatus(one.name, had.state, len(had.movies), one.n_in_metadata, had.note)
            note = f"opened again: {news}"
        why = self._reason_to_close(one, is_over, by_word)
        if why is not None:
            closing = self._close(one, folder, node, run, why, note)
            closed = self._closed[one.name]
            return closing, SeriesStatus(
                one.name, closed.state, len(closed.movies), one.n_in_metadata, closed.note
            )
        record: ItemRecord | None = None
        trouble = ""
        if one.whole and one.whole != self._ahead.get(one.name):
            context = self._context(run)
            try:
                made = folder.series(one, context, closing=False)
                record = source_record(one.name, made, node, run, context, 0.0)
                n_expected = max(one.n_in_metadata, self._options.tilts or 0)
                record = replace(record, state=GROWING, records={N_EXPECTED: n_expected})
                self._ahead[one.name] = one.whole
            except DataUnfitError as error:
                trouble = str(error)
        note = "; ".join(filter(None, [note, trouble or _waited_for(one)]))
        return record, SeriesStatus(one.name, "open", len(one.whole), one.n_in_metadata, note)

    def _reason_to_close(self, one: SeriesNow, is_over: bool, by_word: bool) -> str | None:
        """Why a series is closed now; never while one of its files is being written."""
        options, quiet = self._options, one.quiet_seconds
        is_complete = bool(one.whole) and not one.unfinished
        settle_seconds = options.settle_seconds
        if is_complete and options.tilts is not None and len(one.whole) >= options.tilts:
            if quiet >= min(settle_seconds, COMPLETE_SETTLE_SECONDS):
                return f"all {options.tilts} tilts came"
            return None
        if quiet < settle_seconds:
            return None
        if by_word or is_over:
            return "by word" if by_word else "the session ended"
        minutes = options.close_minutes if is_complete else options.missing_minutes
        return f"nothing new for {minutes:g} minutes" if quiet >= 60 * minutes else None

    def _news(self, one: SeriesNow, had: _Closed, folder: WatchedFolder, node: Node, run: RunRecord) -> str:
        """Note on new files of a closed series, or "".

        Movies that disappear do not count: raw data are moved away.
        """
        late = sorted(path.name for path in one.whole - had.movies)
        if late:
            more = f" and {len(late) - 1} more" if len(late) > 1 else ""
            return f"{late[0]}{more} came after it was closed"
        if one.whole != had.movies or had.state != "closed" or self._unchanged.get(one.name) == one.files:
            return ""
        context = self._context(run)
        try:
            made = folder.series(one, context, closing=True)
            key = source_record(one.name, made, node, run, context, 0.0).key
        except DataUnfitError:
            key = had.key
        if key != had.key:
            return "its files or its mdoc were written again"
        self._unchanged[one.name] = one.files
        return ""

    def _close(
        self, one: SeriesNow, folder: WatchedFolder, node: Node, run: RunRecord, why: str, note: str
    ) -> ItemRecord:
        """Record of the series as it is; with too few tilts, that it was left out."""
        context, clock = self._context(run), time.perf_counter()
        n_expected = max(one.n_in_metadata, self._options.tilts or 0)
        said = f"{len(one.whole)} of {n_expected} tilts; closed: {why}"
        try:
            made: TiltSeries | DataUnfitError = folder.series(one, context, closing=True)
        except DataUnfitError as error:
            made = error
        if note:
            context.warn(f"{one.name}: {note}; it is recomputed")
        if not isinstance(made, DataUnfitError) and len(made.tilts) < n_expected:
            context.warn(f"{one.name}: {len(made.tilts)} of {n_expected} tilts came; closed: {why}")
        record = source_record(one.name, made, node, run, context, time.perf_counter() - clock)
        movies, state = one.whole, "closed"
        least = validated_params(node).min_tilts  # type: ignore[attr-defined]  # checked in items
        if not isinstance(made, DataUnfitError):
            movies = frozenset(tilt.movie.path for tilt in made.tilts if tilt.movie is not None)
        elif len(one.whole) < least:
            state, said = "abandoned", f"abandoned with {said}; a series needs {least}"
            key = fingerprint(record.key, sorted(path.name for path in movies))
            record = replace(record, state="left_out", error=None, reason=said, key=key)
        else:
            state, said = "failed", str(made)
        watched = {
            "closed": why,
            "movies": sorted(map(str, movies)),
            "n_told": one.n_in_metadata,
            "note": said,
        }
        record = replace(record, records={**record.records, "watch": watched})
        self._closed[one.name] = _Closed(movies, record.key, state, said, one.n_in_metadata)
        self._ahead.pop(one.name, None)
        return record

    def _context(self, run: RunRecord) -> EngineContext:
        folder = self._project.folder
        step = find_step(run.step)
        return EngineContext(folder, folder / run.folder, "cpu", 1, 1 << 30, seed=run.id, step=step)

    # Notifications

    def _tell(self, states: list[SeriesStatus], arrivals: Arrivals) -> None:
        """Notify the listener, and write the status file for other processes."""
        names = {state.name for state in states}
        gone = [
            SeriesStatus(name, closed.state, len(closed.movies), closed.n_in_metadata, closed.note)
            for name, closed in self._closed.items()
            if name not in names
        ]
        states = sorted([*states, *gone], key=lambda state: state.name)
        if (states, arrivals) != self._last_reported:
            keep_status(self._project.folder, states, arrivals)
            self._last_reported = states, arrivals
        self._listener.watching(states, "")

    def _refresh_report(self) -> None:
        """Write the report again after a series was finished, limited in frequency."""
        if not self._report_is_old or time.monotonic() < self._report_after:
            return
        self._report_is_old, began = False, time.monotonic()
        write_project_report(self._project)
        took = time.monotonic() - began
        self._report_after = time.monotonic() + max(_REPORT_SECONDS, 20 * took)

    # Forwarding of events

    def planned(self, workflow: Workflow) -> None:
        """Pass on."""
        self._listener.planned(workflow)

    def progress(self, task: Task, done: int, total: int) -> None:
        """Pass on."""
        self._listener.progress(task, done, total)

    def started(self, task: Task) -> None:
        """Pass on."""
        self._listener.started(task)

    def processed_ahead(self, outcome: Outcome) -> None:
        """Pass on."""
        self._listener.processed_ahead(outcome)

    def finished(self, node: str, item: ItemRecord) -> None:
        """Pass on; the report is outdated when a series reaches its end."""
        if node in self._last_nodes or item.state != "done":
            self._report_is_old = True
        self._listener.finished(node, item)


def _closed_before(item: ItemRecord, project: Path) -> _Closed:
    """Records of an earlier watch, or a batch run, for a series."""
    watched = item.records.get("watch", {})
    if item.value is not None:
        tilts = load_value(item.value, project).tilts
        movies = frozenset(tilt.movie.path for tilt in tilts if tilt.movie is not None)
    else:
        movies = frozenset(map(Path, watched.get("movies", ())))
    state = "closed" if item.state == "done" else "abandoned"
    return _Closed(movies, item.key, state, watched.get("note", ""), watched.get("n_told", len(movies)))


def _waited_for(one: SeriesNow) -> str:
    """Why a series' movies cannot be processed yet, in words; "" if they can."""
    said = []
    for reason in (MISSING, WRITTEN):
        names = [name for name, why in one.unfinished.items() if why == reason]
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            said.append(f"{names[0]}{more} {reason}")
    for name, why in one.unfinished.items():
        if why not in (MISSING, WRITTEN):
            said.append(why if name in why else f"{name}: {why}")
    return "; ".join(said[:3])
