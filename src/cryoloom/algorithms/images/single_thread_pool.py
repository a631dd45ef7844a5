"""Threads side by side, each of which does its transforms alone.

Torch shares every transform out among its own threads, which then wait for each other, busily, longer than a
small transform takes. Whole pieces of work side by side leave the processor to the work.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

__all__ = ["single_thread_pool"]


@contextmanager
def single_thread_pool(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch works on one thread."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        # The number of the thread that set it last is the one new threads begin with.
        torch.set_num_threads(before)
