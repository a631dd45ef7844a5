"""Threads that each run torch on one thread.

Torch divides every transform among its own threads, which then busy-wait for each other longer than a small
transform takes. Independent pieces of work in parallel use the processor fully.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numba
import torch

__all__ = ["IMAGES_AT_ONCE", "each_image", "of_each", "single_thread_pool"]

Item = TypeVar("Item")
Result = TypeVar("Result")

IMAGES_AT_ONCE = 4
"""Large images that are worked on at the same time, at most: more cores would wait for the memory."""


@contextmanager
def single_thread_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch works on one thread."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # New threads begin with the number of threads that was set last.
        torch.set_num_threads(before)


def each_image(work: Callable[[int], None], n_images: int) -> Iterator[None]:
    """``work(i)`` for every image, several at a time on numba's threads, which the engine sets for a task.

    Yields after each, in their order. Of several images torch works on each with one thread, however many
    there are: results do not depend on their number. A single one is worked on by the calling thread.
    """
    if n_images == 1:
        work(0)
        yield
    if n_images < 2:
        return
    n_threads = min(numba.get_num_threads(), IMAGES_AT_ONCE, n_images)
    with single_thread_pool(n_threads) as pool:
        yield from pool.map(work, range(n_images))


def of_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """``work`` of every item, in their order, done as `each_image` does images."""
    results: dict[int, Result] = {}

    def keep(i: int) -> None:
        results[i] = work(items[i])

    for _ in each_image(keep, len(items)):
        pass
    return [results[i] for i in range(len(items))]
