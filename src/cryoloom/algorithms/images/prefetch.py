"""Work on the next item while the previous one is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

__all__ = ["prefetch"]

Task = TypeVar("Task")
Done = TypeVar("Done")


def prefetch(
    pool: Executor, work: Callable[[Task], Done], tasks: Iterable[Task], n_ahead: int
) -> Iterator[tuple[Task, Done]]:
    """Tasks with the results of ``work``, in order; at most ``n_ahead`` are running or waiting."""
    waiting: deque[tuple[Task, Future[Done]]] = deque()
    for task in tasks:
        if len(waiting) == n_ahead:
            done, future = waiting.popleft()
            yield done, future.result()
        waiting.append((task, pool.submit(work, task)))
    while waiting:
        done, future = waiting.popleft()
        yield done, future.result()
