"""Parts of a step's work: a function of a module, run on each of them by any free worker.

`PartMapper` implements `StepContext.map`. It does not depend on threads, processes or clusters: parts go to a
`PartPool`, and results return in the order of the parts.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from cryoloom.contract.step import PartFunction
from cryoloom.engine.worker.failures import describe_error, raise_described
from cryoloom.engine.worker.interruption import StillWanted
from cryoloom.engine.worker.item_log import LOG_NAME, ItemLog
from cryoloom.engine.worker.programs import RunsPrograms
from cryoloom.engine.worker.resources import Resources, set_threads
from cryoloom.errors import TransientError
from cryoloom.formats.pixels.movie import open_movie
from cryoloom.formats.pixels.mrc import MrcPixels
from cryoloom.model import Movie, MovieFrames
from cryoloom.store.codec import decode, encode

__all__ = [
    "OpenPool",
    "PartContext",
    "PartMapper",
    "PartOutcome",
    "PartPool",
    "PartTask",
    "WorkerLostError",
    "run_part",
    "serially",
]

N_TRIES = 3
"""Number of tries before the loss of a part's worker counts as a failure."""
_LOOK_SECONDS = 0.2
"""Chosen: between two looks whether the task was stopped."""
Arrays = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]


class WorkerLostError(Exception):
    """The worker of a part died: killed, out of memory, or at the end of its wall time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """All data that a worker needs for one part."""

    project: Path
    what: str
    """The step and its item, for messages."""
    function: str
    """``module:name``."""
    part: Any
    """Encoded; arrays unchanged."""
    seed: tuple[int, ...]
    """Seed of the item, the call of `StepContext.map` and the part."""
    scratch: Path
    """A folder that this part may create."""
    coordinator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOutcome:
    """Result of a part: arrays, or the error."""

    arrays: Arrays
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    log: str = ""
    """Output of outside programs."""


class PartPool(Protocol):
    """Workers that do parts."""

    def submit(self, task: PartTask) -> Future[PartOutcome]:
        """Start a part. The future fails with `WorkerLostError`, or with an error of the workers."""

    def cancel(self, futures: Sequence[Future[PartOutcome]]) -> None:
        """Their results are not wanted any more."""


OpenPool = Callable[[], AbstractContextManager[PartPool]]
"""Begins to do parts: the worker of the step frees its place while it waits for them."""


@dataclass
class PartContext(RunsPrograms):
    """Context of a part: as `StepContext`, without outputs."""

    device: str
    n_threads: int
    memory_bytes: int
    rng: np.random.Generator
    look: Callable[[], None]
    folder: Path
    warnings: list[str] = field(default_factory=list)

    def program_log(self) -> ItemLog:
        """Log of this part; the step adds it to the item's log."""
        return ItemLog(self.folder / LOG_NAME, "")

    def open_movie(self, movie: Movie) -> MovieFrames:
        """Open a movie."""
        return open_movie(movie)

    def scratch(self) -> Path:
        """A folder for this part's own files; it is removed when the step has ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder

    def progress(self, done: int, total: int) -> None:
        """Check whether the part is still wanted; the step reports the progress."""
        self.look()

    def warn(self, message: str) -> None:
        """Warn the user; it is stored with the step's item."""
        self.warnings.append(message)

    def map(self, *_: object, **__: object) -> NoReturn:
        """Refused."""
        raise RuntimeError(
            "a part of a step's work cannot be divided again; make more and smaller parts in the step itself"
        )

    imap = map

    def new_pixels(self, *_: object, **__: object) -> NoReturn:
        """Refused."""
        raise RuntimeError("a part returns arrays and has no outputs; let the step write files and figures")

    keyed_pixels = new_file = new_table = figure = not_measurable = record = new_pixels


class PartMapper:
    """Runs functions on the parts of one task's work."""

    def __init__(
        self,
        *,
        project: Path,
        what: str,
        seed: int,
        scratch: Path,
        coordinator: str,
        open_pool: OpenPool,
        n_at_once: int,
        look: Callable[[], None],
        warn: Callable[[str], None],
        log: ItemLog | None,
    ) -> None:
        self._project, self._what, self._seed = project, what, seed
        self._scratch, self._coordinator = scratch, coordinator
        self._open_pool, self._n_at_once = open_pool, max(1, n_at_once)
        self._look, self._warn, self._log = look, warn, log
        self._n_calls = 0

    def imap(
        self, function: PartFunction, parts: Sequence[Any], progress: Progress
    ) -> Generator[Arrays, None, None]:
        """Results in the order of the parts. At most as many are started as may run at once and be stored."""
        named = _name_of(function)
        self._n_calls += 1
        tasks = [
            PartTask(
                project=self._project,
                what=self._what,
                function=named,
                part=encode(part, self._project, arrays=True),
                seed=(self._seed, self._n_calls, i),
                scratch=self._scratch / f"part_{self._n_calls}_{i}",
                coordinator=self._coordinator,
            )
            for i, part in enumerate(parts)
        ]
        return self._results(tasks, progress)

    def _results(self, tasks: Sequence[PartTask], progress: Progress) -> Generator[Arrays, None, None]:
        begun: deque[_Begun] = deque()
        waiting = deque(tasks)
        n_done = 0
        with self._open_pool() as pool:
            try:
                while waiting or begun:
                    n_running = sum(not one.future.done() for one in begun)
                    while waiting and n_running < self._n_at_once and len(begun) < 2 * self._n_at_once:
                        task = waiting.popleft()
                        begun.append(_Begun(task, pool.submit(task)))
                        n_running += 1
                    unfinished = [one.future for one in begun if not one.future.done()]
                    if not begun[0].future.done():
                        wait(unfinished, _LOOK_SECONDS, FIRST_COMPLETED)
                    self._look()
                    now_done = len(tasks) - len(waiting) - sum(not one.future.done() for one in begun)
                    if now_done > n_done:
                        n_done = now_done
                        progress(n_done, len(tasks))
                    if begun[0].future.done():
                        arrays = self._taken(begun[0], pool)
                        if arrays is not None:
                            begun.popleft()
                            yield arrays
            finally:
                pool.cancel([one.future for one in begun])

    def _taken(self, first: _Begun, pool: PartPool) -> Arrays | None:
        """Result of a part that ended; None if its worker was lost and it is started again."""
        try:
            outcome = first.future.result()
        except WorkerLostError as loss:
            if first.n_tries >= N_TRIES:
                raise TransientError(
                    f"the worker that did a part of {self._what} was lost {first.n_tries} times: killed, out "
                    "of memory or at the end of its wall time; give workers more memory or time, then resume",
                    hosts=str(loss),
                ) from loss
            first.n_tries += 1
            first.future = pool.submit(first.task)
            return None
        if outcome.log and self._log is not None:
            self._log.add(outcome.log)
        for message in outcome.warnings:
            self._warn(message)
        if outcome.error is not None:
            raise_described(outcome.error)
        return outcome.arrays


@dataclass
class _Begun:
    task: PartTask
    future: Future[PartOutcome]
    n_tries: int = 1


def _name_of(function: PartFunction) -> str:
    """Name under which a worker finds a function; raises TypeError for one without."""
    named = f"{function.__module__}:{function.__qualname__}"
    if "." in function.__qualname__ or function.__name__ == "<lambda>" or _function(named) is not function:
        raise TypeError(
            "the parts of a step's work are done by a function of a module, which every worker can find; "
            f"got {named}"
        )
    return named


def _function(named: str) -> PartFunction | None:
    module, _, name = named.partition(":")
    found: PartFunction | None = getattr(importlib.import_module(module), name, None)
    return found


def run_part(task: PartTask, resources: Resources) -> PartOutcome:
    """Do a part; any error becomes part of the result."""
    set_threads(resources.n_threads)
    wanted = StillWanted(task.project, task.coordinator, task.what)
    context = PartContext(
        device=resources.device,
        n_threads=resources.n_threads,
        memory_bytes=resources.memory_bytes,
        rng=np.random.default_rng(task.seed),
        look=wanted.look,
        folder=task.scratch,
    )
    error: Mapping[str, Any] | None = None
    try:
        wanted.look(now=True)
        shutil.rmtree(task.scratch, ignore_errors=True)  # of a worker that was lost at this part
        function = _function(task.function)
        if function is None:
            raise TransientError(f"this worker has no {task.function}; install the same cryoloom everywhere")
        made = function(decode(_copied(task.part), task.project, MrcPixels), context)
        arrays = {str(name): _as_array(name, array) for name, array in made.items()}
    except Exception as failure:
        arrays, error = {}, describe_error(failure)
    return PartOutcome(
        arrays=arrays, error=error, warnings=tuple(context.warnings), log=context.program_log().tail(0)
    )


def _copied(data: Any) -> Any:
    """Encoded data with their own arrays: a part may modify them."""
    if isinstance(data, np.ndarray):
        return data.copy()
    if isinstance(data, dict):
        return {name: _copied(inner) for name, inner in data.items()}
    return [_copied(inner) for inner in data] if isinstance(data, list) else data


def _as_array(name: object, values: object) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.hasobject:
        raise TypeError(f"{name} of a part is not an array of numbers or text, but {type(values).__name__}")
    return array


@dataclass
class _Serial:
    """Does a part at once, in the calling thread."""

    resources: Resources

    def submit(self, task: PartTask) -> Future[PartOutcome]:
        """Do it."""
        future: Future[PartOutcome] = Future()
        future.set_result(run_part(task, self.resources))
        return future

    def cancel(self, futures: Sequence[Future[PartOutcome]]) -> None:
        """They are done."""


def serially(resources: Resources) -> OpenPool:
    """Parts one after the other, in this worker only."""
    return lambda: contextlib.nullcontext(_Serial(resources))
