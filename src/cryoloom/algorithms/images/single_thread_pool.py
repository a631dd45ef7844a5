"""Threads that each run torch on one thread.

Torch divides every transform among its own threads, which then busy-wait for each other longer than a small
transform takes. Independent pieces of work in parallel use the processor fully.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numba
import torch

__all__ = ["IMAGES_AT_ONCE", "each_image", "of_each", "set_transform_threads", "single_thread_pool"]

Item = TypeVar("Item")
Result = TypeVar("Result")

IMAGES_AT_ONCE = 4
"""Large images that are worked on at the same time, at most: more cores would wait for the memory."""


@contextmanager
def single_thread_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch works on one thread."""
    before, of_transforms = torch.get_num_threads(), set_transform_threads(1)
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # New threads begin with the number of threads that was set last.
        torch.set_num_threads(before)
        set_transform_threads(of_transforms)  # torch has set those of MKL as well


def set_transform_threads(n_threads: int) -> int:
    """Let each of torch's FFTs (MKL's) of the calling thread use so many threads; the number before.

    MKL shares a single transform out among its threads, which wait for each other busily: where they have
    fewer cores than they are, a transform of 64 x 64 pixels takes 8 to 50 ms instead of 0.02 ms. Its bits,
    too, depend on whether there is more than one. 0 stands for the number of the whole process.
    """
    library = _mkl()
    return 0 if library is None else int(library.MKL_Set_Num_Threads_Local(n_threads))


@functools.cache
def _mkl() -> ctypes.CDLL | None:
    """The library with torch's MKL; None where torch was built without."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    library = ctypes.CDLL(str(path)) if path.is_file() else None
    return library if hasattr(library, "MKL_Set_Num_Threads_Local") else None


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
